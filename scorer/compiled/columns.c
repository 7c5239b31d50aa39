/* JSON events straight into columns: what `json.py` does with msgspec, for the events that are plain.

   A plan is made of the schema's tree once; `read` walks each event's text in one pass and writes numbers where NumPy
   has them. It is sure of what it writes, bit for bit, or it leaves the event to `json.py`: escapes, invalid text,
   unusual numbers, wrong types, missing fields and whatever else needs a word. So nothing is ever refused here, and
   every rule about what is sound stays in one place.

   Written against the stable ABI of Python 3.11; the GIL is held. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include "json.h"
#include "plan.h"
#include "values.h"

enum { DEPTH = 64, CACHED_BYTES = 48, ID_BYTES = 1024 };

/* Where the numbers of a column go, or the list that takes its strings. */
typedef struct {
    Py_buffer view;
    PyObject *list;
    char format;
} column;

typedef struct {
    Plan *plan;
    column *columns;
    PyObject *ids; /* a list, or NULL */
    Py_ssize_t row;
    cursor json;
} reader;

static void store(reader *r, const field *f, double value) {
    column *c = &r->columns[f->column];
    switch (c->format) {
    case 'd':
        ((double *)c->view.buf)[r->row] = value;
        break;
    case '?':
        ((char *)c->view.buf)[r->row] = value != 0.0;
        break;
    }
}

static bool read_number(reader *r, const field *f) {
    decimal from;
    double value;
    if (!take_number(&r->json, &from) || !nearest(&from, &value) || !(f->low <= value && value <= f->high))
        return false;
    store(r, f, value);
    return true;
}

static bool read_id(reader *r, const char *text, Py_ssize_t length) {
    PyObject *id = PyBytes_FromStringAndSize(text, length);
    return id != NULL && PyList_SetItem(r->ids, r->row, id) == 0;
}

static bool read_integer(reader *r, const field *f) {
    const char *begin = r->json.at;
    decimal from;
    if (!take_number(&r->json, &from) || !from.is_integer || from.digits > INT64_MAX)
        return false;
    int64_t value = from.negative ? -(int64_t)from.digits : (int64_t)from.digits;
    if (value < f->least || value > f->most)
        return false;
    if (r->columns[f->column].format == 'd')
        store(r, f, (double)value);
    else
        ((int64_t *)r->columns[f->column].view.buf)[r->row] = value;
    return !f->is_id || read_id(r, begin, r->json.at - begin);
}

static bool read_boolean(reader *r, const field *f) {
    bool yes = *r->json.at == 't';
    if (!(yes ? take_word(&r->json, "true", 4) : take_word(&r->json, "false", 5)))
        return false;
    store(r, f, yes);
    return true;
}

/* Return a new reference to a string, which is remembered where it is short; NULL, and no exception, if not UTF-8. */
static PyObject *text_of(Plan *plan, const char *bytes, Py_ssize_t length) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    PyObject *found;
    bool short_enough = length <= CACHED_BYTES;
    if (short_enough) {
        for (Py_ssize_t i = 0; i < length; i++)
            hash = (hash ^ (unsigned char)bytes[i]) * 16777619u;
        found = plan->cache[hash % CACHE];
        if (found != NULL) {
            Py_ssize_t known;
            const char *own = PyUnicode_AsUTF8AndSize(found, &known);
            if (own != NULL && known == length && !memcmp(own, bytes, length))
                return Py_NewRef(found);
        }
    }
    found = PyUnicode_DecodeUTF8(bytes, length, NULL);
    if (found == NULL) {
        PyErr_Clear();
    } else if (short_enough) {
        Py_XDECREF(plan->cache[hash % CACHE]);
        plan->cache[hash % CACHE] = Py_NewRef(found);
    }
    return found;
}

/* Write what a string with escapes means, in UTF-8, which never is longer; return how long it is. */
static Py_ssize_t unescape(const text *t, char *into) {
    static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
    const char *at = t->begin, *end = at + t->length;
    char *out = into;
    while (at < end) {
        if (*at != '\\') {
            *out++ = *at++;
            continue;
        }
        const char *letter = strchr(letters, at[1]);
        if (at[1] != 'u') {
            *out++ = letter ? meant[letter - letters] : at[1];
            at += 2;
            continue;
        }
        int code = hex_of(at + 2);
        at += 6;
        if (code < 0x80) {
            *out++ = (char)code;
            continue;
        }
        if (code < 0x800) {
            *out++ = (char)(0xC0 | code >> 6);
        } else {
            *out++ = (char)(0xE0 | code >> 12);
            *out++ = (char)(0x80 | (code >> 6 & 0x3F));
        }
        *out++ = (char)(0x80 | (code & 0x3F));
    }
    return out - into;
}

/* Return the string that was written, as a new reference; NULL, and no exception, if it is none. */
static PyObject *string_of(Plan *plan, const text *t) {
    char *scratch;
    PyObject *found = NULL;
    if (!t->escaped)
        return text_of(plan, t->begin, t->length);
    if ((scratch = PyMem_Malloc(t->length)) != NULL)
        found = text_of(plan, scratch, unescape(t, scratch));
    PyMem_Free(scratch);
    return found;
}

static bool read_string(reader *r, const field *f) {
    text found;
    if (*r->json.at++ != '"' || !take_string(&r->json, &found))
        return false;
    /* An id is handed on as it is written. Its limit is in characters, of which it has no more than bytes. */
    if (f->is_id && (found.escaped || found.length > ID_BYTES || !read_id(r, found.begin - 1, found.length + 2)))
        return false;
    PyObject *string = string_of(r->plan, &found);
    return string != NULL && PyList_SetItem(r->columns[f->column].list, r->row, string) == 0;
}

static bool read_moment(reader *r, const field *f) {
    double value;
    if (!take_moment(&r->json, &value))
        return false;
    store(r, f, value);
    return true;
}

static bool read_object(reader *r, branch *b);

/* Null and absent are the same: every field inside is null. False where one may not be. */
static bool read_nothing(reader *r, const field *f) {
    if (f->kind == OBJECT) {
        for (int i = 0; i < f->object->count; i++)
            if (!read_nothing(r, &f->object->fields[i]))
                return false;
        return true;
    }
    if (!f->nullable || f->is_id)
        return false;
    if (f->kind == STRING)
        return PyList_SetItem(r->columns[f->column].list, r->row, Py_NewRef(Py_None)) == 0;
    store(r, f, Py_NAN);
    return true;
}

static bool read_value(reader *r, const field *f) {
    skip_space(&r->json);
    if (r->json.at == r->json.end)
        return false;
    if (*r->json.at == 'n' && !f->is_id)
        return take_word(&r->json, "null", 4) && read_nothing(r, f);
    switch (f->kind) {
    case NUMBER:
        return read_number(r, f);
    case INTEGER:
        return read_integer(r, f);
    case BOOLEAN:
        return read_boolean(r, f);
    case STRING:
        return read_string(r, f);
    case TIMESTAMP:
        return read_moment(r, f);
    case OBJECT:
        return take(&r->json, '{') && read_object(r, f->object);
    }
    return false;
}

static inline bool is_named(const reader *r, const field *f) {
    return r->json.end - r->json.at > f->length && !memcmp(r->json.at, f->name, f->length + 1);
}

/* Read a name behind its opening quote; `found` is its field's number, or -1. */
static bool read_name(reader *r, const branch *b, int expected, int *found) {
    text name;
    *found = expected;
    if (b->count && is_named(r, &b->fields[expected])) {
        r->json.at += b->fields[expected].length + 1;
        return true;
    }
    if (!take_string(&r->json, &name) || name.escaped || !is_utf8(&name))
        return false;
    for (*found = b->buckets[bucket_of(name.begin, name.length)]; *found >= 0; *found = b->fields[*found].next)
        if (b->fields[*found].length == name.length && !memcmp(b->fields[*found].name, name.begin, name.length))
            break;
    return true;
}

/* Read an object's members behind its opening brace. A field that comes twice is left alone. */
static bool read_object(reader *r, branch *b) {
    int met = 0, number, *expected = &b->first;
    if (!take(&r->json, '}')) {
        do {
            if (!take(&r->json, '"') || !read_name(r, b, *expected, &number) || !take(&r->json, ':'))
                return false;
            if (number < 0) {
                if (!skip_value(&r->json, DEPTH))
                    return false;
                continue;
            }
            field *f = &b->fields[number];
            if (f->seen == r->plan->event || !read_value(r, f))
                return false;
            f->seen = r->plan->event;
            *expected = number;
            expected = &f->follower;
            met++;
        } while (take(&r->json, ','));
        if (!take(&r->json, '}'))
            return false;
    }
    for (int i = 0; met < b->count && i < b->count; i++)
        if (b->fields[i].seen != r->plan->event) {
            if (!read_nothing(r, &b->fields[i]))
                return false;
            met++;
        }
    return true;
}

static bool read_event(reader *r, PyObject *value) {
    char *text;
    Py_ssize_t length;
    if (!PyBytes_Check(value) || PyBytes_AsStringAndSize(value, &text, &length) < 0)
        return false;
    r->json.at = text;
    r->json.end = text + length;
    r->plan->event++;
    if (!take(&r->json, '{') || !read_object(r, r->plan->root))
        return false;
    skip_space(&r->json);
    return r->json.at == r->json.end;
}

static bool open_column(column *c, PyObject *object, Py_ssize_t rows) {
    if (PyList_Check(object)) {
        c->list = object;
        return PyList_Size(object) == rows;
    }
    if (PyObject_GetBuffer(object, &c->view, PyBUF_WRITABLE | PyBUF_FORMAT | PyBUF_ND) < 0)
        return false;
    c->format = c->view.format[0];
    return c->view.ndim == 1 && c->view.shape[0] == rows && c->view.itemsize == (c->format == '?' ? 1 : 8);
}

/* Return the rows that were not read. */
static PyObject *read_rows(Plan *plan, PyObject *values, column *columns, PyObject *ids) {
    reader r = {.plan = plan, .columns = columns, .ids = ids};
    Py_ssize_t count = PyList_Size(values);
    PyObject *unread = PyList_New(0);
    for (; unread != NULL && r.row < count; r.row++) {
        if (read_event(&r, PyList_GetItem(values, r.row)))
            continue;
        PyObject *row = PyErr_Occurred() ? NULL : PyLong_FromSsize_t(r.row);
        if (row == NULL || PyList_Append(unread, row) < 0)
            Py_CLEAR(unread);
        Py_XDECREF(row);
    }
    return unread;
}

static PyObject *plan_read(PyObject *object, PyObject *args) {
    Plan *plan = (Plan *)object;
    PyObject *values, *targets, *ids, *unread = NULL;
    column *columns;
    bool opened = true;
    if (!PyArg_ParseTuple(args, "O!O!O:read", &PyList_Type, &values, &PyTuple_Type, &targets, &ids))
        return NULL;
    if (PyTuple_Size(targets) != plan->columns ||
        (ids != Py_None && !(PyList_Check(ids) && PyList_Size(ids) == PyList_Size(values)))) {
        PyErr_SetString(PyExc_ValueError, "one target a field, and one id an event");
        return NULL;
    }
    columns = PyMem_Calloc(plan->columns + 1, sizeof(column));
    if (columns == NULL)
        return PyErr_NoMemory();
    for (int i = 0; opened && i < plan->columns; i++)
        opened = open_column(&columns[i], PyTuple_GetItem(targets, i), PyList_Size(values));
    if (opened)
        unread = read_rows(plan, values, columns, ids == Py_None ? NULL : ids);
    else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a target of another length than the events");
    for (int i = 0; i < plan->columns; i++)
        if (columns[i].view.obj != NULL)
            PyBuffer_Release(&columns[i].view);
    PyMem_Free(columns);
    return unread;
}

static PyMethodDef plan_methods[] = {
    {"read", plan_read, METH_VARARGS, "read(values, targets, ids): fill the targets; return the rows left alone."},
    {0},
};

static PyType_Slot plan_slots[] = {
    {Py_tp_new, plan_new},
    {Py_tp_dealloc, plan_free},
    {Py_tp_methods, plan_methods},
    {Py_tp_doc, "Plan(fields): a schema's tree, ready to read."},
    {0},
};

static PyType_Spec plan_spec = {"scorer.compiled._native.Plan", sizeof(Plan), 0, Py_TPFLAGS_DEFAULT, plan_slots};

static int execute(PyObject *module) {
    PyObject *plan = PyType_FromModuleAndSpec(module, &plan_spec, NULL);
    fill_powers();
    int added = plan == NULL ? -1 : PyModule_AddObjectRef(module, "Plan", plan);
    Py_XDECREF(plan);
    return added;
}

PyObject *weave(PyObject *self, PyObject *args); /* weave.c */

static PyMethodDef functions[] = {
    {"weave", weave, METH_VARARGS, "weave(parts, rows): each row's parts joined."},
    {0},
};

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_methods = functions, .m_slots = slots};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module); }
