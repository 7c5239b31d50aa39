/* What numbers and moments mean: the nearest double of a decimal, the milliseconds of a moment. */

#ifndef SCORER_VALUES_H
#define SCORER_VALUES_H

#include "json.h"

/* 5^27 is the last that 64 bits hold. */
enum { POWERS = 28 };
static uint64_t fives[POWERS];
static double tens[23];

static void fill_powers(void) {
    fives[0] = 1;
    tens[0] = 1.0;
    for (int i = 1; i < POWERS; i++)
        fives[i] = fives[i - 1] * 5;
    for (int i = 1; i < 23; i++)
        tens[i] = tens[i - 1] * 10.0;
}

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

/* Read one of some characters. */
static bool take_one_of(cursor *c, const char *wanted) {
    return c->at < c->end && *c->at != '\0' && strchr(wanted, *c->at++) != NULL;
}

/* Read so many digits and the character behind them, which is one of some. */
static bool take_part(cursor *c, int count, const char *behind, int64_t *found) {
    for (*found = 0; count > 0; count--, c->at++) {
        if (!is_digit(c))
            return false;
        *found = *found * 10 + (*c->at - '0');
    }
    return take_one_of(c, behind);
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
static bool take_moment(cursor *c, double *found) {
    int64_t year, month, day, hour, minute, second, micros = 0, scale = 1000000, hours = 0, minutes = 0;
    bool behind;
    if (*c->at++ != '"' || !take_part(c, 4, "-", &year) || !take_part(c, 2, "-", &month) ||
        !take_part(c, 2, "T", &day) || !take_part(c, 2, ":", &hour) || !take_part(c, 2, ":", &minute) ||
        !take_part(c, 2, ".Z+-\"", &second) || !is_day(year, month, day) || hour > 23 || minute > 59 || second > 59)
        return false;
    if (c->at[-1] == '.') {
        for (; is_digit(c) && scale > 1; c->at++)
            micros += (*c->at - '0') * (scale /= 10);
        if (scale == 1000000 || !take_one_of(c, "Z+-\""))
            return false;
    }
    behind = c->at[-1] == '-';
    if (c->at[-1] == '+' || behind) {
        if (!take_part(c, 2, ":", &hours) || !take_part(c, 2, "\"", &minutes) || hours > 23 || minutes > 59)
            return false;
    } else if (c->at[-1] == 'Z' && !take_one_of(c, "\"")) {
        return false;
    }
    minutes = minute + hour * 60 - (behind ? -1 : 1) * (minutes + hours * 60);
    *found = (double)(((days_to(year, month, day) * 1440 + minutes) * 60 + second) * 1000 + micros / 1000);
    return true;
}

#endif
