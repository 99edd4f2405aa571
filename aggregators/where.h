/* The program that where_compile.c writes and where.c runs. */
#ifndef FRESHET_AGGREGATORS_WHERE_H
#define FRESHET_AGGREGATORS_WHERE_H

#include "internal.h"
#include "tables.h"

enum { AGG_WHERE_STACK = 2 * AGG_WHERE_DEPTH_MAX };

enum agg_where_op {
    AGG_WHERE_NUMBER, /* these push a value */
    AGG_WHERE_FIELD,
    AGG_WHERE_ATTRIBUTE,
    AGG_WHERE_ATTRIBUTE_IN,
    AGG_WHERE_ATTRIBUTE_EQUAL,
    AGG_WHERE_JOINED, /* of a table's row */
    AGG_WHERE_JOINED_IN,
    AGG_WHERE_AND, /* these look at the top */
    AGG_WHERE_OR,
    AGG_WHERE_NOT,
    AGG_WHERE_NEGATE,
    AGG_WHERE_IN,
    AGG_WHERE_ADD, /* these make one of two */
    AGG_WHERE_SUBTRACT,
    AGG_WHERE_MULTIPLY,
    AGG_WHERE_DIVIDE,
    AGG_WHERE_EQUAL,
    AGG_WHERE_UNEQUAL,
    AGG_WHERE_LESS,
    AGG_WHERE_LESS_EQUAL,
    AGG_WHERE_GREATER,
    AGG_WHERE_GREATER_EQUAL,
};

struct agg_where_step {
    enum agg_where_op op;
    int field;
    int table; /* of joined ones, whose `field` is a place in its row */
    int target; /* of and, or: the step to go on with */
    bool is_negated;
    bool is_list; /* of joined ids */
    double number;
    struct fr_slice key, key2; /* attributes */
    int number_first, number_count, text_first, text_count; /* of `in` */
};

struct agg_where {
    struct agg_where_step *steps;
    int step_count;
    double *numbers;
    struct fr_slice *texts;
    uint64_t *ids; /* that the texts stand for */
};

#endif
