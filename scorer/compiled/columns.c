/* JSON events straight into columns: what `json.py` does with msgspec, for the events that are plain.

   A plan is made of the schema's tree once; `read` walks each event's text in one pass and writes numbers where NumPy
   has them. It is sure of what it writes, bit for bit, or it leaves the event to `json.py`: escapes, invalid text,
   unusual numbers, wrong types, missing fields and whatever else needs a word. So nothing is ever refused here, and
   every rule about what is sound stays in one place.

   Written against the stable ABI of Python 3.11; the GIL is held. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum kind { NUMBER, INTEGER, BOOLEAN, STRING, TIMESTAMP, OBJECT };

enum { DEPTH = 64, BUCKETS = 64, CACHE = 512, CACHED_BYTES = 48, ID_BYTES = 1024, DIGITS = 19 };

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
    const char *at, *end;
} reader;

/* ---------------------------------------------------------------- text */

static inline void skip_space(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

static inline bool take(reader *r, char wanted) {
    skip_space(r);
    if (r->at == r->end || *r->at != wanted)
        return false;
    r->at++;
    return true;
}

static bool take_word(reader *r, const char *word, Py_ssize_t length) {
    if (r->end - r->at < length || memcmp(r->at, word, length))
        return false;
    r->at += length;
    return true;
}

/* What stands between quotes, as it is written. */
typedef struct {
    const char *begin;
    Py_ssize_t length;
    bool ascii, escaped;
} text;

/* The number that four hexadecimal digits write, or -1. */
static int hex_of(const char *at) {
    static const char digits[] = "0123456789abcdefABCDEF";
    int value = 0;
    for (int i = 0; i < 4; i++) {
        const char *place = at[i] ? strchr(digits, at[i]) : NULL;
        if (place == NULL)
            return -1;
        value = value * 16 + (int)(place - digits < 16 ? place - digits : place - digits - 6);
    }
    return value;
}

/* Go behind an escape; false for halves of a pair, which may or may not find each other. */
static bool skip_escape(reader *r) {
    if (r->end - r->at < 2 || r->at[1] == '\0' || strchr("\"\\/bfnrtu", r->at[1]) == NULL)
        return false;
    r->at += 2;
    if (r->at[-1] == 'u') {
        int code = r->end - r->at < 4 ? -1 : hex_of(r->at);
        if (code < 0 || (0xD800 <= code && code < 0xE000))
            return false;
        r->at += 4;
    }
    return true;
}

/* Go behind the closing quote of a string that began before `at`. */
static bool take_string(reader *r, text *found) {
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    *found = (text){r->at, 0, true, false};
    while (r->at < r->end) {
        uint64_t eight;
        while (r->end - r->at >= 8) { /* eight at a time, while none is a quote, `\`, below a space or not ASCII */
            memcpy(&eight, r->at, 8);
            uint64_t quote = eight ^ (ones * '"'), slash = eight ^ (ones * '\\');
            if ((((quote - ones) & ~quote) | ((slash - ones) & ~slash) | (eight - ones * 0x20) | eight) & tops)
                break;
            r->at += 8;
        }
        for (int i = 0; i < 8 && r->at < r->end; i++) {
            unsigned char byte = (unsigned char)*r->at;
            if (byte == '"') {
                found->length = r->at++ - found->begin;
                return true;
            }
            if (byte < 0x20)
                return false;
            found->ascii &= byte < 0x80;
            if (byte != '\\')
                r->at++;
            else if (skip_escape(r))
                found->escaped = true;
            else
                return false;
        }
    }
    return false;
}

/* Whether what is not ASCII is UTF-8, by Python's own decoder. */
static bool is_utf8(const text *t) {
    PyObject *found = t->ascii ? Py_NewRef(Py_None) : PyUnicode_DecodeUTF8(t->begin, t->length, NULL);
    if (found == NULL)
        PyErr_Clear();
    Py_XDECREF(found);
    return found != NULL;
}

/* ---------------------------------------------------------------- numbers */

/* A decimal as it is written: (-1)^negative * digits * 10^exponent. */
typedef struct {
    bool negative, is_integer;
    uint64_t digits;
    int exponent;
} decimal;

static inline bool is_digit(const reader *r) { return r->at < r->end && *r->at >= '0' && *r->at <= '9'; }

/* RFC 8259's number, of at most 19 digits. "-0" is left alone: whether it has a sign depends on who asks. */
static bool take_number(reader *r, decimal *found) {
    int count = 0, exponent = 0;
    uint64_t digits = 0;
    found->negative = r->at < r->end && *r->at == '-';
    r->at += found->negative;
    if (!is_digit(r))
        return false;
    if (*r->at == '0')
        r->at++;
    else
        for (; is_digit(r); r->at++, count++)
            digits = digits * 10 + (uint64_t)(*r->at - '0');
    found->is_integer = true;
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        found->is_integer = false;
        if (!is_digit(r))
            return false;
        for (; is_digit(r); r->at++, exponent--) {
            digits = digits * 10 + (uint64_t)(*r->at - '0');
            count += digits != 0;
        }
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        int written = 0;
        bool down;
        r->at++;
        found->is_integer = false;
        down = r->at < r->end && *r->at == '-';
        r->at += down || (r->at < r->end && *r->at == '+');
        if (!is_digit(r))
            return false;
        for (; is_digit(r); r->at++)
            if ((written = written * 10 + (*r->at - '0')) > 999)
                return false;
        exponent += down ? -written : written;
    }
    found->digits = digits;
    found->exponent = exponent;
    return count <= DIGITS && !(found->negative && digits == 0);
}

/* 5^27 is the last that 64 bits hold. */
enum { POWERS = 28 };
static uint64_t fives[POWERS];
static double tens[23];

static double two_to(int exponent) {
    uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double value;
    memcpy(&value, &bits, 8);
    return value;
}

/* The double that is nearest to a decimal, ties to even; false where that needs more than 128 bits.

   Small ones are one exact operation (Clinger, "How to read floating point numbers accurately", 1990). The others are
   w * 2^k * 5^k: the product, or the quotient by 5^-k, is taken to at least 63 bits of 128, and its last bit says
   whether anything is left below it. Converting it rounds once, and scaling by a power of two is exact. */
static bool nearest(const decimal *from, double *found) {
    int k = from->exponent;
    uint64_t w = from->digits;
    double value;
    if (w == 0) {
        value = 0.0;
    } else if (w <= (UINT64_C(1) << 53) && -22 <= k && k <= 22) {
        value = k < 0 ? (double)w / tens[-k] : (double)w * tens[k];
    } else if (k <= -POWERS || k >= POWERS) {
        return false;
    } else if (k < 0) {
        uint64_t divisor = fives[-k];
        int up = __builtin_clzll(w), down = __builtin_clzll(divisor);
        unsigned __int128 whole = (unsigned __int128)(w << up) << 63;
        uint64_t quotient = (uint64_t)(whole / (divisor << down));
        quotient |= whole != (unsigned __int128)quotient * (divisor << down);
        value = (double)quotient * two_to(k + down - up - 63);
    } else {
        unsigned __int128 product = (unsigned __int128)w * fives[k];
        uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;
        int up = high ? __builtin_clzll(high) : 64;
        if (high) {
            uint64_t kept = (uint64_t)((product << up) >> 64);
            value = (double)(kept | ((uint64_t)(product << up) != 0)) * two_to(k + 64 - up);
        } else {
            value = (double)low * two_to(k);
        }
    }
    *found = from->negative ? -value : value;
    return true;
}

/* ---------------------------------------------------------------- what no field wants */

static bool skip_value(reader *r, int depth);

static bool skip_string(reader *r) {
    text found;
    return take_string(r, &found) && is_utf8(&found);
}

static bool skip_members(reader *r, int depth) {
    if (take(r, '}'))
        return true;
    do {
        if (!take(r, '"') || !skip_string(r) || !take(r, ':') || !skip_value(r, depth))
            return false;
    } while (take(r, ','));
    return take(r, '}');
}

static bool skip_elements(reader *r, int depth) {
    if (take(r, ']'))
        return true;
    do {
        if (!skip_value(r, depth))
            return false;
    } while (take(r, ','));
    return take(r, ']');
}

static bool skip_value(reader *r, int depth) {
    decimal number;
    skip_space(r);
    if (depth == 0 || r->at == r->end)
        return false;
    switch (*r->at) {
    case '"':
        r->at++;
        return skip_string(r);
    case '{':
        r->at++;
        return skip_members(r, depth - 1);
    case '[':
        r->at++;
        return skip_elements(r, depth - 1);
    case 't':
        return take_word(r, "true", 4);
    case 'f':
        return take_word(r, "false", 5);
    case 'n':
        return take_word(r, "null", 4);
    default:
        return take_number(r, &number);
    }
}

/* ---------------------------------------------------------------- what a field wants */

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
    if (!take_number(r, &from) || !nearest(&from, &value) || !(f->low <= value && value <= f->high))
        return false;
    store(r, f, value);
    return true;
}

static bool read_id(reader *r, const char *text, Py_ssize_t length) {
    PyObject *id = PyBytes_FromStringAndSize(text, length);
    return id != NULL && PyList_SetItem(r->ids, r->row, id) == 0;
}

static bool read_integer(reader *r, const field *f) {
    const char *begin = r->at;
    decimal from;
    if (!take_number(r, &from) || !from.is_integer || from.digits > INT64_MAX)
        return false;
    int64_t value = from.negative ? -(int64_t)from.digits : (int64_t)from.digits;
    if (value < f->least || value > f->most)
        return false;
    if (r->columns[f->column].format == 'd')
        store(r, f, (double)value);
    else
        ((int64_t *)r->columns[f->column].view.buf)[r->row] = value;
    return !f->is_id || read_id(r, begin, r->at - begin);
}

static bool read_boolean(reader *r, const field *f) {
    bool yes = *r->at == 't';
    if (!(yes ? take_word(r, "true", 4) : take_word(r, "false", 5)))
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
    if (*r->at++ != '"' || !take_string(r, &found))
        return false;
    /* An id is handed on as it is written. Its limit is in characters, of which it has no more than bytes. */
    if (f->is_id && (found.escaped || found.length > ID_BYTES || !read_id(r, found.begin - 1, found.length + 2)))
        return false;
    PyObject *string = string_of(r->plan, &found);
    return string != NULL && PyList_SetItem(r->columns[f->column].list, r->row, string) == 0;
}

/* Read one of some characters. */
static bool take_one_of(reader *r, const char *wanted) {
    return r->at < r->end && *r->at != '\0' && strchr(wanted, *r->at++) != NULL;
}

/* Read so many digits and the character behind them, which is one of some. */
static bool take_part(reader *r, int count, const char *behind, int64_t *found) {
    for (*found = 0; count > 0; count--, r->at++) {
        if (!is_digit(r))
            return false;
        *found = *found * 10 + (*r->at - '0');
    }
    return take_one_of(r, behind);
}

/* Days from 1970-01-01 to a day of the Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms"). */
static int64_t days_to(int64_t year, int64_t month, int64_t day) {
    int64_t shifted = month > 2 ? year : year - 1, era = shifted / 400, of_era = shifted - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool is_day(int64_t year, int64_t month, int64_t day) {
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return 1000 <= year && year <= 9998 && 1 <= month && month <= 12 && 1 <= day &&
           day <= days[month - 1] - (month == 2 && !leap);
}

/* RFC 3339, to whole milliseconds before it: "2024-02-29T12:00:00.123456+01:00"; without a zone it is UTC. */
static bool read_timestamp(reader *r, const field *f) {
    int64_t year, month, day, hour, minute, second, micros = 0, scale = 1000000, hours = 0, minutes = 0;
    bool behind;
    if (*r->at++ != '"' || !take_part(r, 4, "-", &year) || !take_part(r, 2, "-", &month) ||
        !take_part(r, 2, "T", &day) || !take_part(r, 2, ":", &hour) || !take_part(r, 2, ":", &minute) ||
        !take_part(r, 2, ".Z+-\"", &second) || !is_day(year, month, day) || hour > 23 || minute > 59 || second > 59)
        return false;
    if (r->at[-1] == '.') {
        for (; is_digit(r) && scale > 1; r->at++)
            micros += (*r->at - '0') * (scale /= 10);
        if (scale == 1000000 || !take_one_of(r, "Z+-\""))
            return false;
    }
    behind = r->at[-1] == '-';
    if (r->at[-1] == '+' || behind) {
        if (!take_part(r, 2, ":", &hours) || !take_part(r, 2, "\"", &minutes) || hours > 23 || minutes > 59)
            return false;
    } else if (r->at[-1] == 'Z' && !take_one_of(r, "\"")) {
        return false;
    }
    minutes = minute + hour * 60 - (behind ? -1 : 1) * (minutes + hours * 60);
    store(r, f, (double)(((days_to(year, month, day) * 1440 + minutes) * 60 + second) * 1000 + micros / 1000));
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
    skip_space(r);
    if (r->at == r->end)
        return false;
    if (*r->at == 'n' && !f->is_id)
        return take_word(r, "null", 4) && read_nothing(r, f);
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
        return read_timestamp(r, f);
    case OBJECT:
        return take(r, '{') && read_object(r, f->object);
    }
    return false;
}

static inline bool is_named(const reader *r, const field *f) {
    return r->end - r->at > f->length && !memcmp(r->at, f->name, f->length + 1);
}

static inline unsigned bucket_of(const char *name, Py_ssize_t length) {
    if (length == 0)
        return 0;
    return ((unsigned)length * 31 + (unsigned char)name[0] * 7 + (unsigned char)name[length - 1]) % BUCKETS;
}

/* Read a name behind its opening quote; `found` is its field's number, or -1. */
static bool read_name(reader *r, const branch *b, int expected, int *found) {
    text name;
    *found = expected;
    if (b->count && is_named(r, &b->fields[expected])) {
        r->at += b->fields[expected].length + 1;
        return true;
    }
    if (!take_string(r, &name) || name.escaped || !is_utf8(&name))
        return false;
    for (*found = b->buckets[bucket_of(name.begin, name.length)]; *found >= 0; *found = b->fields[*found].next)
        if (b->fields[*found].length == name.length && !memcmp(b->fields[*found].name, name.begin, name.length))
            break;
    return true;
}

/* Read an object's members behind its opening brace. A field that comes twice is left alone. */
static bool read_object(reader *r, branch *b) {
    int met = 0, number, *expected = &b->first;
    if (!take(r, '}')) {
        do {
            if (!take(r, '"') || !read_name(r, b, *expected, &number) || !take(r, ':'))
                return false;
            if (number < 0) {
                if (!skip_value(r, DEPTH))
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
        } while (take(r, ','));
        if (!take(r, '}'))
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
    r->at = text;
    r->end = text + length;
    r->plan->event++;
    if (!take(r, '{') || !read_object(r, r->plan->root))
        return false;
    skip_space(r);
    return r->at == r->end;
}

/* ---------------------------------------------------------------- the plan */

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
    fives[0] = 1;
    tens[0] = 1.0;
    for (int i = 1; i < POWERS; i++)
        fives[i] = fives[i - 1] * 5;
    for (int i = 1; i < 23; i++)
        tens[i] = tens[i - 1] * 10.0;
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
