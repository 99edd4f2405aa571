/*
 * What the files of base share.
 */
#ifndef FRESHET_BASE_INTERNAL_H
#define FRESHET_BASE_INTERNAL_H

#include <freshet/yaml.h>

enum {
    FR_YAML_DEPTH_MAX = 32,
    FR_YAML_NODES_MAX = 100000,
    FR_YAML_ASKED_MAX = 64, /* keys remembered per map for the hint at the nearest one */
};

/* Replaces control characters, so that one message is one line and cannot steer a terminal. Returns the length. */
size_t fr_text__one_line(char *text, size_t length);

/* Tells that the tree's arena is used up. */
void fr_yaml__exhausted(struct fr_diagnostics *diagnostics, const struct fr_yaml *at);

/* fr_yaml_parse(); the nodes of a --set value have no place in a file. */
FR_CHECKED bool fr_yaml__parse(struct fr_slice text, bool is_set, struct fr_arena *arena, struct fr_yaml **root,
                               struct fr_diagnostics *diagnostics);

/* Puts the environment and a file's content into node->text; a mistake is told. */
void fr_yaml__resolve(struct fr_yaml *node, struct fr_diagnostics *diagnostics);

/* Adds an entry to a map, or to a list without `key`. False when out of memory; the node is then empty. */
FR_CHECKED bool fr_yaml__add(struct fr_yaml *node, struct fr_yaml *key, struct fr_yaml *value);

/* The entry of `key` in a map, or −1. */
int fr_yaml__find(const struct fr_yaml *map, struct fr_slice key);

#endif
