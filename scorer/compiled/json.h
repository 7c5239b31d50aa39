/* RFC 8259 as it is written: strings, numbers, and values that nobody wants. What is not sure is false. */

#ifndef SCORER_JSON_H
#define SCORER_JSON_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { DIGITS = 19 };

/* Where in a text we are. */
typedef struct {
    const char *at, *end;
} cursor;

static inline void skip_space(cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r'))
        c->at++;
}

static inline bool take(cursor *c, char wanted) {
    skip_space(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static bool take_word(cursor *c, const char *word, Py_ssize_t length) {
    if (c->end - c->at < length || memcmp(c->at, word, length))
        return false;
    c->at += length;
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
static bool skip_escape(cursor *c) {
    if (c->end - c->at < 2 || c->at[1] == '\0' || strchr("\"\\/bfnrtu", c->at[1]) == NULL)
        return false;
    c->at += 2;
    if (c->at[-1] == 'u') {
        int code = c->end - c->at < 4 ? -1 : hex_of(c->at);
        if (code < 0 || (0xD800 <= code && code < 0xE000))
            return false;
        c->at += 4;
    }
    return true;
}

/* Go behind the closing quote of a string that began before `at`. */
static bool take_string(cursor *c, text *found) {
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    *found = (text){c->at, 0, true, false};
    while (c->at < c->end) {
        uint64_t eight;
        while (c->end - c->at >= 8) { /* eight at a time, while none is a quote, `\`, below a space or not ASCII */
            memcpy(&eight, c->at, 8);
            uint64_t quote = eight ^ (ones * '"'), slash = eight ^ (ones * '\\');
            if ((((quote - ones) & ~quote) | ((slash - ones) & ~slash) | (eight - ones * 0x20) | eight) & tops)
                break;
            c->at += 8;
        }
        for (int i = 0; i < 8 && c->at < c->end; i++) {
            unsigned char byte = (unsigned char)*c->at;
            if (byte == '"') {
                found->length = c->at++ - found->begin;
                return true;
            }
            if (byte < 0x20)
                return false;
            found->ascii &= byte < 0x80;
            if (byte != '\\')
                c->at++;
            else if (skip_escape(c))
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

/* A decimal as it is written: (-1)^negative * digits * 10^exponent. */
typedef struct {
    bool negative, is_integer;
    uint64_t digits;
    int exponent;
} decimal;

static inline bool is_digit(const cursor *c) { return c->at < c->end && *c->at >= '0' && *c->at <= '9'; }

/* RFC 8259's number, of at most 19 digits. "-0" is left alone: whether it has a sign depends on who asks. */
static bool take_number(cursor *c, decimal *found) {
    int count = 0, exponent = 0;
    uint64_t digits = 0;
    found->negative = c->at < c->end && *c->at == '-';
    c->at += found->negative;
    if (!is_digit(c))
        return false;
    if (*c->at == '0')
        c->at++;
    else
        for (; is_digit(c); c->at++, count++)
            digits = digits * 10 + (uint64_t)(*c->at - '0');
    found->is_integer = true;
    if (c->at < c->end && *c->at == '.') {
        c->at++;
        found->is_integer = false;
        if (!is_digit(c))
            return false;
        for (; is_digit(c); c->at++, exponent--) {
            digits = digits * 10 + (uint64_t)(*c->at - '0');
            count += digits != 0;
        }
    }
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
        int written = 0;
        bool down;
        c->at++;
        found->is_integer = false;
        down = c->at < c->end && *c->at == '-';
        c->at += down || (c->at < c->end && *c->at == '+');
        if (!is_digit(c))
            return false;
        for (; is_digit(c); c->at++)
            if ((written = written * 10 + (*c->at - '0')) > 999)
                return false;
        exponent += down ? -written : written;
    }
    found->digits = digits;
    found->exponent = exponent;
    return count <= DIGITS && !(found->negative && digits == 0);
}

/* Go behind a value that no field wants. */
static bool skip_value(cursor *c, int depth);

static bool skip_string(cursor *c) {
    text found;
    return take_string(c, &found) && is_utf8(&found);
}

static bool skip_members(cursor *c, int depth) {
    if (take(c, '}'))
        return true;
    do {
        if (!take(c, '"') || !skip_string(c) || !take(c, ':') || !skip_value(c, depth))
            return false;
    } while (take(c, ','));
    return take(c, '}');
}

static bool skip_elements(cursor *c, int depth) {
    if (take(c, ']'))
        return true;
    do {
        if (!skip_value(c, depth))
            return false;
    } while (take(c, ','));
    return take(c, ']');
}

static bool skip_value(cursor *c, int depth) {
    decimal number;
    skip_space(c);
    if (depth == 0 || c->at == c->end)
        return false;
    switch (*c->at) {
    case '"':
        c->at++;
        return skip_string(c);
    case '{':
        c->at++;
        return skip_members(c, depth - 1);
    case '[':
        c->at++;
        return skip_elements(c, depth - 1);
    case 't':
        return take_word(c, "true", 4);
    case 'f':
        return take_word(c, "false", 5);
    case 'n':
        return take_word(c, "null", 4);
    default:
        return take_number(c, &number);
    }
}

#endif
