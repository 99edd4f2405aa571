/*
 * A YAML document as a tree that remembers where everything stood, so that every mistake is told as file:line:column, what is
 * wrong and what would be right. Scalars with `${NAME}` take the environment's value, a scalar `file:/path` the file's content
 * (trailing newline cut; the file must not be readable by others). Aliases and duplicate keys are refused. One thread.
 *
 * Reading is by key: what was not read by fr_yaml_finish() is an unknown key, and is reported with the nearest known one.
 */
#ifndef FRESHET_YAML_H
#define FRESHET_YAML_H

#include <freshet/arena.h>
#include <freshet/buffer.h>
#include <freshet/error.h>

enum fr_yaml_kind { FR_YAML_NULL, FR_YAML_SCALAR, FR_YAML_LIST, FR_YAML_MAP };

struct fr_yaml {
    enum fr_yaml_kind kind;
    int line; /* from 1; 0 for what came from --set */
    int column; /* from 1 */
    bool is_quoted; /* a scalar that was quoted is never a number, span … of its own accord, but reads as one */
    struct fr_slice text; /* of a scalar, terminated */
    struct fr_slice written; /* of a scalar, as it stands in the file, before ${NAME} and file: — what messages may quote */
    const char *file; /* that its text was read from; NULL: from none */
    int count; /* entries of a list or map */
    struct fr_yaml **values; /* of a list or map */
    struct fr_yaml **keys; /* of a map: scalars */
    bool *is_read; /* of a map: which entries somebody asked for */
    struct fr_yaml_asked *asked; /* of a map: the keys somebody asked for, to name the nearest */
    struct fr_arena *arena; /* where the tree lives */
};

struct fr_yaml_asked { /* a key that was asked for in a map, and what the reader said of it */
    struct fr_yaml_asked *next;
    const char *key;
    const char *range; /* "1 to 64", "wall, event"; NULL: it was no typed read with limits */
    const char *fallback; /* what stays when it is absent, as one would write it; NULL: nothing, or what the limits refuse */
};

/* All mistakes of one check, in the order found. */
struct fr_diagnostics {
    const char *file; /* as the user named it */
    struct fr_buffer text; /* one line each: "freshet.yaml:12:5: features.x.windows: …" */
    int count;
};

void fr_diagnostics_init(struct fr_diagnostics *diagnostics, const char *file);
void fr_diagnostics_fini(struct fr_diagnostics *diagnostics);

/* Adds "file:line:column: message"; `at` NULL: "file: message"; a --set value: "--set: message". Returns false always. */
bool fr_diagnostics_add(struct fr_diagnostics *diagnostics, const struct fr_yaml *at, const char *format, ...) FR_PRINTF(3, 4);

/* The tree of `text`, in `arena`. False with the mistakes in `diagnostics` (syntax, duplicate keys, aliases, secrets). */
FR_CHECKED bool fr_yaml_parse(struct fr_slice text, struct fr_arena *arena, struct fr_yaml **root,
                              struct fr_diagnostics *diagnostics);

/*
 * What a text outside of any document stands for, as a scalar would: `${NAME}`, `file:/path`. In `arena`, maybe `text` itself.
 * FR_BAD_CONFIG.
 */
FR_CHECKED bool fr_yaml_resolve(const char *text, struct fr_arena *arena, const char **value, struct fr_err *err);

/*
 * Puts `a.b[0].c=value` (value read as YAML) into the tree, making maps on the way, for --set. A key that holds dots is found when
 * it is there, and made in quotes: kafka.properties."fetch.min.bytes"=1. False with the mistake told.
 */
FR_CHECKED bool fr_yaml_set(struct fr_yaml *root, const char *assignment, struct fr_arena *arena,
                            struct fr_diagnostics *diagnostics);

/* The value of `key` in a map, marked as read; NULL when absent, null, or `map` is NULL. */
struct fr_yaml *fr_yaml_get(struct fr_yaml *map, const char *key);

/*
 * Typed reads of `key` in `map`: absent leaves *value as it is (the default, which is kept with the key: set it) and is true; a wrong type or one out of
 * [least, most] is told in `diagnostics` and false. Spans in ms, sizes in bytes. Text is in the tree's arena.
 */
bool fr_yaml_text(struct fr_yaml *map, const char *key, const char **value, struct fr_diagnostics *diagnostics);
bool fr_yaml_int(struct fr_yaml *map, const char *key, int64_t least, int64_t most, int64_t *value,
                 struct fr_diagnostics *diagnostics);
bool fr_yaml_double(struct fr_yaml *map, const char *key, double least, double most, double *value,
                    struct fr_diagnostics *diagnostics);
bool fr_yaml_bool(struct fr_yaml *map, const char *key, bool *value, struct fr_diagnostics *diagnostics);
bool fr_yaml_span(struct fr_yaml *map, const char *key, int64_t least_ms, int64_t most_ms, int64_t *ms,
                  struct fr_diagnostics *diagnostics);
bool fr_yaml_size(struct fr_yaml *map, const char *key, uint64_t least, uint64_t most, uint64_t *bytes,
                  struct fr_diagnostics *diagnostics);

/* One of `names` (any case) as its index. */
bool fr_yaml_choice(struct fr_yaml *map, const char *key, const char *const *names, int count, int *index,
                    struct fr_diagnostics *diagnostics);

/*
 * Tells every entry of `map` that nobody read as an unknown key, with the nearest of those that were asked for or `known`; and that
 * it is no map, when it is none. NULL (absent) is fine.
 */
void fr_yaml_finish(struct fr_yaml *map, const char *where, const char *const *known, int known_count,
                    struct fr_diagnostics *diagnostics);

#endif
