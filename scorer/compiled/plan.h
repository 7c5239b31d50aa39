/* The plan: a schema's tree, ready to be looked up by name. */

#ifndef SCORER_PLAN_H
#define SCORER_PLAN_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum kind { NUMBER, INTEGER, BOOLEAN, STRING, TIMESTAMP, OBJECT };

enum { BUCKETS = 64, CACHE = 512 };

typedef struct branch branch;

typedef struct {
    char *name; /* with its closing quote, so that one comparison is enough */
    Py_ssize_t length;
    enum kind kind;
    bool nullable, is_id;
    int column, next; /* `next` in its bucket, or -1 */
    int follower;     /* the field that came behind this one in the event before: mostly it does again */
    double low, high;
    int64_t least, most;
    branch *object;
    uint64_t seen; /* the event that it was last seen in */
} field;

struct branch {
    int count, first;
    field *fields;
    int buckets[BUCKETS];
};

typedef struct {
    PyObject_HEAD
    branch *root;
    int columns;
    uint64_t event;
    PyObject *cache[CACHE]; /* strings that come again and again, as objects whose hash is known */
} Plan;

static inline unsigned bucket_of(const char *name, Py_ssize_t length) {
    if (length == 0)
        return 0;
    return ((unsigned)length * 31 + (unsigned char)name[0] * 7 + (unsigned char)name[length - 1]) % BUCKETS;
}

static void free_branch(branch *b) {
    if (b == NULL)
        return;
    for (int i = 0; i < b->count; i++) {
        PyMem_Free(b->fields[i].name);
        free_branch(b->fields[i].object);
    }
    PyMem_Free(b->fields);
    PyMem_Free(b);
}

static branch *make_branch(PyObject *fields, int *columns);

/* (name, kind, nullable, is_id, low, high, least, most, fields inside) */
static bool fill_field(field *f, PyObject *spec, int *columns) {
    const char *name;
    int kind, nullable, is_id;
    long long least, most;
    PyObject *inside;
    if (!PyArg_ParseTuple(spec, "y#ippddLLO!:field", &name, &f->length, &kind, &nullable, &is_id, &f->low, &f->high,
                          &least, &most, &PyTuple_Type, &inside))
        return false;
    f->kind = (enum kind)kind;
    f->nullable = nullable;
    f->is_id = is_id;
    f->least = least;
    f->most = most;
    f->name = PyMem_Malloc(f->length + 1);
    if (f->name == NULL)
        return PyErr_NoMemory() != NULL;
    memcpy(f->name, name, f->length);
    f->name[f->length] = '"';
    if (f->kind == OBJECT)
        return (f->object = make_branch(inside, columns)) != NULL;
    f->column = (*columns)++;
    return true;
}

static branch *make_branch(PyObject *fields, int *columns) {
    branch *b = PyMem_Calloc(1, sizeof(branch));
    Py_ssize_t count = PyTuple_Size(fields);
    if (b == NULL || (b->fields = PyMem_Calloc(count ? count : 1, sizeof(field))) == NULL) {
        PyMem_Free(b);
        return (branch *)PyErr_NoMemory();
    }
    for (int i = 0; i < BUCKETS; i++)
        b->buckets[i] = -1;
    for (; b->count < count; b->count++) {
        field *f = &b->fields[b->count];
        if (!fill_field(f, PyTuple_GetItem(fields, b->count), columns)) {
            b->count++;
            free_branch(b);
            return NULL;
        }
        unsigned bucket = bucket_of(f->name, f->length);
        f->next = b->buckets[bucket];
        b->buckets[bucket] = b->count;
        f->follower = b->count + 1 < count ? b->count + 1 : 0;
    }
    return b;
}

static PyObject *plan_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *fields;
    Plan *self;
    if (!PyArg_ParseTuple(args, "O!:Plan", &PyTuple_Type, &fields))
        return NULL;
    self = (Plan *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self != NULL && (self->root = make_branch(fields, &self->columns)) == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    (void)kwargs;
    return (PyObject *)self;
}

static void plan_free(PyObject *object) {
    Plan *self = (Plan *)object;
    PyTypeObject *type = Py_TYPE(object);
    free_branch(self->root);
    for (int i = 0; i < CACHE; i++)
        Py_XDECREF(self->cache[i]);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

#endif
