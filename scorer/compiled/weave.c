/* Texts of many rows, each joined from parts: what `encode.py` does with `bytes.join`, without an object a part. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    char *bytes;
    Py_ssize_t length;
} text;

enum kind { CONSTANT, EACH, CHOICE, NUMBERS };

typedef struct {
    enum kind kind;
    text now;         /* the part of the present row */
    PyObject *list;   /* EACH: one text a row. CHOICE: the texts to choose from */
    Py_buffer chosen; /* CHOICE: which one, int64 */
    const char *end;  /* NUMBERS: of the text; `now` is where the next one begins */
} part;

static bool open_text(PyObject *object, text *found) {
    return PyBytes_AsStringAndSize(object, &found->bytes, &found->length) == 0;
}

/* bytes | list[bytes] | (list[bytes], int64 array) | (None, text of numbers between commas) */
static bool open_part(part *p, PyObject *object, Py_ssize_t rows) {
    if (PyBytes_Check(object)) {
        p->kind = CONSTANT;
        return open_text(object, &p->now);
    }
    if (PyList_Check(object)) {
        p->kind = EACH;
        p->list = object;
        if (PyList_Size(object) != rows)
            PyErr_SetString(PyExc_ValueError, "a list of another length than the rows");
        return !PyErr_Occurred();
    }
    PyObject *chosen;
    if (!PyArg_ParseTuple(object, "OO:part", &p->list, &chosen))
        return false;
    if (p->list == Py_None) {
        p->kind = NUMBERS;
        if (!open_text(chosen, &p->now))
            return false;
        p->end = p->now.bytes + p->now.length;
        return true;
    }
    p->kind = CHOICE;
    if (PyObject_GetBuffer(chosen, &p->chosen, PyBUF_SIMPLE) < 0)
        return false;
    if (!PyList_Check(p->list) || p->chosen.len != rows * (Py_ssize_t)sizeof(int64_t))
        PyErr_SetString(PyExc_ValueError, "a choice is a list and an int64 a row");
    return !PyErr_Occurred();
}

/* Point `now` to the part of a row; the rows are asked for in their order. */
static bool turn_to(part *p, Py_ssize_t row) {
    if (p->kind == NUMBERS) {
        if (row > 0)
            p->now.bytes += p->now.length + 1;
        Py_ssize_t left = p->end - p->now.bytes;
        const char *comma = left > 0 ? memchr(p->now.bytes, ',', left) : NULL;
        p->now.length = comma ? comma - p->now.bytes : left;
        if (left <= 0)
            PyErr_SetString(PyExc_ValueError, "fewer numbers than rows");
        return left > 0;
    }
    if (p->kind == CONSTANT)
        return true;
    Py_ssize_t place = p->kind == EACH ? row : (Py_ssize_t)((int64_t *)p->chosen.buf)[row];
    PyObject *object = PyList_GetItem(p->list, place);
    return object != NULL && open_text(object, &p->now);
}

static PyObject *row_of(part *parts, Py_ssize_t count, Py_ssize_t row) {
    Py_ssize_t length = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!turn_to(&parts[i], row))
            return NULL;
        length += parts[i].now.length;
    }
    PyObject *woven = PyBytes_FromStringAndSize(NULL, length);
    if (woven == NULL)
        return NULL;
    char *at = PyBytes_AsString(woven);
    for (Py_ssize_t i = 0; i < count; i++) {
        memcpy(at, parts[i].now.bytes, parts[i].now.length);
        at += parts[i].now.length;
    }
    return woven;
}

static PyObject *rows_of(part *parts, Py_ssize_t count, Py_ssize_t rows) {
    PyObject *list = PyList_New(rows);
    for (Py_ssize_t row = 0; list != NULL && row < rows; row++) {
        PyObject *woven = row_of(parts, count, row);
        if (woven == NULL)
            Py_CLEAR(list);
        else
            PyList_SetItem(list, row, woven);
    }
    return list;
}

PyObject *weave(PyObject *self, PyObject *args) {
    PyObject *given, *woven = NULL;
    Py_ssize_t rows, count;
    bool opened = true;
    (void)self;
    if (!PyArg_ParseTuple(args, "O!n:weave", &PyTuple_Type, &given, &rows))
        return NULL;
    count = PyTuple_Size(given);
    part *parts = PyMem_Calloc(count ? count : 1, sizeof(part));
    if (parts == NULL)
        return PyErr_NoMemory();
    for (Py_ssize_t i = 0; opened && i < count; i++)
        opened = open_part(&parts[i], PyTuple_GetItem(given, i), rows);
    if (opened)
        woven = rows_of(parts, count, rows);
    for (Py_ssize_t i = 0; i < count; i++)
        if (parts[i].chosen.obj != NULL)
            PyBuffer_Release(&parts[i].chosen);
    PyMem_Free(parts);
    return woven;
}
