/*
 * What a configuration may say, as tables: each module that reads keys keeps the rows of its own, beside the readers. The manual page,
 * docs/configuration.md and nothing else are written from them; tests/unit/pipeline/test_settings.c holds them against what the readers
 * ask for, with which defaults and limits. Constant, for any thread.
 */
#ifndef FRESHET_SETTING_H
#define FRESHET_SETTING_H

struct fr_setting {
    const char *key; /* in its section */
    const char *fallback; /* what holds without it, as one would write it; "": nothing does; NULL: it has to be given */
    const char *range; /* what it may be: limits and units as the reader tells them, or words */
    const char *meaning;
};

struct fr_settings { /* the keys of one map */
    const char *path; /* "node.dedupe", "features.NAME": NAME is the user's, [] each entry of a list */
    const char *aggregates; /* "sum, mean": only features with these have them; NULL: whatever the path names */
    const char *lead; /* a sentence about them all; "" */
    const struct fr_setting *rows;
    int count;
};

#define FR_SETTINGS(path, aggregates, lead, rows)                                                                              \
    {                                                                                                                          \
        path, aggregates, lead, rows, (int)(sizeof(rows) / sizeof(rows)[0])                                                    \
    }

#endif
