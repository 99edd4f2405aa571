/*
 * What status says of a cluster: which instances there are and whose the partitions are, as the one that was asked has heard it; what it is
 * restoring and how far, what it stands by for, what of the others it has not merged. Names are others' text: nothing in them moves a cursor.
 */
#include "internal.h"

#include <inttypes.h>
#include <string.h>

/* Whose it is; NULL: nobody has said to have it since the one that was asked gave it away, or ever. */
static const char *owner_of(const Freshet__V1__ClusterResponse *cluster, const Freshet__V1__ClusterPartition *partition)
{
    if (partition->here || partition->restoring)
        return cluster->instance;
    return partition->instance[0] && strcmp(partition->instance, cluster->instance) != 0 ? partition->instance : NULL;
}

/* ---- pieces ---- */

static void put_text(const char *text, struct fr_buffer *out)
{
    for (; *text; text++)
        fr_buffer_append_byte(out, (unsigned char)*text < ' ' || *text == '\x7f' ? (uint8_t)'?' : (uint8_t)*text);
}

/* Numbers that rise, one after the other: "0-3, 7". `last` is the one before, −1 at first; `first` where its range began. */
struct ranges {
    struct fr_buffer text;
    int32_t first, last;
    int count;
};

static void end_range(struct ranges *ranges)
{
    if (ranges->count == 0)
        return;
    fr_buffer_append_format(&ranges->text, "%s%" PRId32, ranges->text.length > 0 ? ", " : "", ranges->first);
    if (ranges->last > ranges->first)
        fr_buffer_append_format(&ranges->text, "-%" PRId32, ranges->last);
}

static void add_to_range(struct ranges *ranges, int32_t number)
{
    if (ranges->count == 0 || number != ranges->last + 1) {
        end_range(ranges);
        ranges->first = number;
    }
    ranges->last = number;
    ranges->count++;
}

static void print_row(const char *instance, int instance_width, const char *api, int api_width, const struct ranges *ranges,
                      bool is_own, FILE *out)
{
    struct fr_buffer name, address;

    fr_buffer_init(&name);
    fr_buffer_init(&address);
    put_text(instance, &name);
    put_text(api, &address);
    fprintf(out, "    %-*.*s  %-*.*s  %.*s%s\n", instance_width, (int)name.length, (const char *)name.bytes, api_width,
            (int)address.length, (const char *)address.bytes, (int)ranges->text.length, (const char *)ranges->text.bytes,
            is_own ? "  (this one)" : "");
    fr_buffer_fini(&name);
    fr_buffer_fini(&address);
}

/* ---- blocks ---- */

/* A row of those whose owner it is; NULL: nobody. Gives how many they are. */
static int print_owner(const Freshet__V1__ClusterResponse *cluster, const char *instance, const char *api, const int widths[2],
                       FILE *out)
{
    struct ranges ranges = {.last = -1};

    fr_buffer_init(&ranges.text);
    for (size_t i = 0; i < cluster->n_partitions; i++) {
        const char *owner = owner_of(cluster, cluster->partitions[i]);

        if (owner == instance || (owner && instance && strcmp(owner, instance) == 0))
            add_to_range(&ranges, cluster->partitions[i]->partition);
    }
    end_range(&ranges);
    if (ranges.count > 0)
        print_row(instance ? instance : "nobody", widths[0], api, widths[1], &ranges,
                  instance && strcmp(instance, cluster->instance) == 0, out);
    fr_buffer_fini(&ranges.text);
    return ranges.count;
}

static void print_owners(const Freshet__V1__ClusterResponse *cluster, FILE *out)
{
    int widths[2] = {(int)strlen(cluster->instance), 1};
    bool has_own = false;

    if (widths[0] < (int)strlen("nobody"))
        widths[0] = (int)strlen("nobody");
    for (size_t i = 0; i < cluster->n_members; i++) {
        int name = (int)strlen(cluster->members[i]->instance), api = (int)strlen(cluster->members[i]->api);

        widths[0] = name > widths[0] ? name : widths[0];
        widths[1] = api > widths[1] ? api : widths[1];
    }
    for (size_t i = 0; i < cluster->n_members; i++) {
        has_own = has_own || strcmp(cluster->members[i]->instance, cluster->instance) == 0;
        (void)print_owner(cluster, cluster->members[i]->instance, cluster->members[i]->api, widths, out);
    }
    if (!has_own) /* what it was just given it has not said yet */
        (void)print_owner(cluster, cluster->instance, "-", widths, out);
    (void)print_owner(cluster, NULL, "-", widths, out);
}

static void print_restoring(const Freshet__V1__ClusterPartition *partition, FILE *out)
{
    char left[32], next[32], end[32];

    if (partition->changelog_lag < 0 || partition->changelog_next < 0)
        fprintf(out, "  restoring    %" PRId32 ": nothing of it is here yet\n", partition->partition);
    else
        fprintf(out, "  restoring    %" PRId32 ": %s offsets of the changelog left, at %s of %s\n", partition->partition,
                cli_progress__grouped((uint64_t)partition->changelog_lag, left),
                cli_progress__grouped((uint64_t)partition->changelog_next, next),
                cli_progress__grouped((uint64_t)(partition->changelog_next + partition->changelog_lag), end));
}

/* What is read along: what is stood by for, or what is to be. */
static void print_copies(const Freshet__V1__ClusterResponse *cluster, bool is_standby, FILE *out)
{
    struct ranges ranges = {.last = -1};
    uint64_t left = 0;
    char text[32];

    fr_buffer_init(&ranges.text);
    for (size_t i = 0; i < cluster->n_partitions; i++) {
        const Freshet__V1__ClusterPartition *partition = cluster->partitions[i];

        if (partition->here || partition->restoring || partition->standby != is_standby ||
            (!is_standby && partition->changelog_lag < 0))
            continue;
        add_to_range(&ranges, partition->partition);
        left += partition->changelog_lag > 0 ? (uint64_t)partition->changelog_lag : 0;
    }
    end_range(&ranges);
    if (ranges.count > 0)
        fprintf(out, "  %-12s %.*s: %s offsets of the changelog left\n", is_standby ? "stands by" : "copies",
                (int)ranges.text.length, (const char *)ranges.text.bytes, cli_progress__grouped(left, text));
    fr_buffer_fini(&ranges.text);
}

void cli_cluster__print(const Freshet__V1__ClusterResponse *cluster, FILE *out)
{
    struct fr_buffer name;
    uint64_t deltas = 0;
    char text[32];

    if (strcmp(cluster->mode, "standalone") == 0)
        return;
    fr_buffer_init(&name);
    put_text(cluster->instance, &name);
    fprintf(out, "  cluster      %s%.*s, %zu partitions, epoch %" PRIu64 "\n",
            strcmp(cluster->mode, "replica") == 0 ? "replica " : "", (int)name.length, (const char *)name.bytes,
            cluster->n_partitions, cluster->epoch);
    fr_buffer_fini(&name);
    if (cluster->n_partitions == 0)
        return; /* not known yet */
    print_owners(cluster, out);
    for (size_t i = 0; i < cluster->n_partitions; i++) {
        deltas += (uint64_t)cluster->partitions[i]->deltas_lag;
        if (cluster->partitions[i]->restoring)
            print_restoring(cluster->partitions[i], out);
    }
    print_copies(cluster, true, out);
    print_copies(cluster, false, out);
    fprintf(out, "  deltas       %s offsets not merged\n", cli_progress__grouped(deltas, text));
}
