/*
 * What status says of a cluster.
 */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PARTITIONS = 8 };

struct told {
    Freshet__V1__ClusterResponse cluster;
    Freshet__V1__ClusterMember members[2], *member_list[2];
    Freshet__V1__ClusterPartition partitions[PARTITIONS], *partition_list[PARTITIONS];
};

/* 'a' has the first half, 'b' the second, and 'b' answers. */
static void tell(struct told *told)
{
    freshet__v1__cluster_response__init(&told->cluster);
    told->cluster.mode = "cluster";
    told->cluster.instance = "b";
    told->cluster.epoch = 57;
    for (int i = 0; i < 2; i++) {
        freshet__v1__cluster_member__init(&told->members[i]);
        told->members[i].instance = i == 0 ? "a" : "b";
        told->members[i].api = i == 0 ? "10.0.0.1:7070" : "10.0.0.2:7070";
        told->member_list[i] = &told->members[i];
    }
    for (int i = 0; i < PARTITIONS; i++) {
        freshet__v1__cluster_partition__init(&told->partitions[i]);
        told->partitions[i].partition = i;
        told->partitions[i].instance = i < PARTITIONS / 2 ? "a" : "b";
        told->partitions[i].here = i >= PARTITIONS / 2;
        told->partitions[i].changelog_lag = -1;
        told->partition_list[i] = &told->partitions[i];
    }
    told->cluster.members = told->member_list;
    told->cluster.n_members = 2;
    told->cluster.partitions = told->partition_list;
    told->cluster.n_partitions = PARTITIONS;
}

static void assert_prints(const struct told *told, const char *wanted)
{
    size_t size;
    char *text;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    cli_cluster__print(&told->cluster, out);
    fclose(out);
    assert_string_equal(text, wanted);
    free(text);
}

static void partitions_are_ranges_of_their_owners(void **state)
{
    struct told told;

    (void)state;
    tell(&told);
    assert_prints(&told, "  cluster      b, 8 partitions, epoch 57\n"
                         "    a       10.0.0.1:7070  0-3\n"
                         "    b       10.0.0.2:7070  4-7  (this one)\n"
                         "  deltas       0 offsets not merged\n");
}

static void what_is_not_plain_has_a_line(void **state)
{
    struct told told;

    (void)state;
    tell(&told);
    told.partitions[2].standby = told.partitions[3].standby = true;
    told.partitions[2].changelog_lag = 5;
    told.partitions[3].changelog_lag = 7;
    told.partitions[1].changelog_lag = 900; /* a standby that is not one yet */
    told.partitions[4].here = told.partitions[5].here = told.partitions[7].here = false;
    told.partitions[4].restoring = told.partitions[5].restoring = true; /* and 7 was given away */
    told.partitions[4].changelog_next = 1000;
    told.partitions[4].changelog_lag = 12345;
    told.partitions[5].changelog_next = -1;
    told.partitions[0].deltas_lag = 1200;
    told.partitions[6].deltas_lag = 34;
    assert_prints(&told, "  cluster      b, 8 partitions, epoch 57\n"
                         "    a       10.0.0.1:7070  0-3\n"
                         "    b       10.0.0.2:7070  4-6  (this one)\n"
                         "    nobody  -              7\n"
                         "  restoring    4: 12,345 offsets of the changelog left, at 1,000 of 13,345\n"
                         "  restoring    5: nothing of it is here yet\n"
                         "  stands by    2-3: 12 offsets of the changelog left\n"
                         "  copies       1: 900 offsets of the changelog left\n"
                         "  deltas       1,234 offsets not merged\n");
}

static void who_is_new_has_what_it_restores_before_it_has_said_so(void **state)
{
    struct told told;

    (void)state;
    tell(&told);
    told.cluster.instance = "new";
    for (int i = 4; i < PARTITIONS; i++)
        told.partitions[i].here = false;
    told.partitions[0].restoring = true;
    told.partitions[0].changelog_next = 10;
    told.partitions[0].changelog_lag = 0;
    assert_prints(&told, "  cluster      new, 8 partitions, epoch 57\n"
                         "    a       10.0.0.1:7070  1-3\n"
                         "    b       10.0.0.2:7070  4-7\n"
                         "    new     -              0  (this one)\n"
                         "  restoring    0: 0 offsets of the changelog left, at 10 of 10\n"
                         "  deltas       0 offsets not merged\n");
}

static void names_move_no_cursor(void **state)
{
    struct told told;

    (void)state;
    tell(&told);
    told.members[0].instance = "\033[2J\177";
    for (int i = 0; i < 4; i++)
        told.partitions[i].instance = told.members[0].instance;
    assert_prints(&told, "  cluster      b, 8 partitions, epoch 57\n"
                         "    ?[2J?   10.0.0.1:7070  0-3\n"
                         "    b       10.0.0.2:7070  4-7  (this one)\n"
                         "  deltas       0 offsets not merged\n");
}

static void a_node_that_stands_alone_says_nothing(void **state)
{
    struct told told;

    (void)state;
    tell(&told);
    told.cluster.mode = "standalone";
    assert_prints(&told, "");
}

static void before_the_partitions_are_known_there_is_a_name(void **state)
{
    struct told told;

    (void)state;
    tell(&told);
    told.cluster.mode = "replica";
    told.cluster.n_partitions = told.cluster.n_members = 0;
    assert_prints(&told, "  cluster      replica b, 0 partitions, epoch 57\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partitions_are_ranges_of_their_owners),
        cmocka_unit_test(what_is_not_plain_has_a_line),
        cmocka_unit_test(who_is_new_has_what_it_restores_before_it_has_said_so),
        cmocka_unit_test(names_move_no_cursor),
        cmocka_unit_test(a_node_that_stands_alone_says_nothing),
        cmocka_unit_test(before_the_partitions_are_known_there_is_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
