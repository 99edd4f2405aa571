/*
 * Who is given which partitions: range assignment as librdkafka does it for members with a name of their own, who come in the order of
 * their names. So an instance can tell from the others' names alone what would be its own if one of them left, or came.
 */
#include "cluster_internal.h"

bool pipeline_range__is_of(int partitions, int members, int index, int partition)
{
    int share = partitions / members, more = partitions % members;
    int first = share * index + (index < more ? index : more);

    return partition >= first && partition < first + share + (index < more);
}

/* However many of those that leave come before it by name, its own place falls by so many. */
void pipeline_range__standbys(int partitions, int members, int index, int most, bool *is_wanted)
{
    for (int left = 1; left <= most && left < members; left++)
        for (int before = 0; before <= left && before <= index; before++)
            for (int i = 0; i < partitions && left - before <= members - 1 - index; i++)
                is_wanted[i] = is_wanted[i] || pipeline_range__is_of(partitions, members - left, index - before, i);
}
