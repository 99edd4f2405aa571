/*
 * A checkpoint: users of one partition of a cluster as of an epoch's marker, in a file of its own, for who takes the partition
 * over (docs/scaling.md).
 *
 * The file: a magic of eight bytes | blocks: u32 bytes, u64 hash, bytes | the end: a block of none, whose hash is of how many
 * blocks and records there are, and both numbers. A block's hash is seeded by its number, so none can be missing, twice or
 * elsewhere. The first block is the head, all others are records as the changelog has them: length and key, length and value.
 * Little endian. It is written beside its name and renamed when it is whole and synced; a file without its end is refused
 * before any of it is used.
 *
 * One thread at a time for a writer or a reader. Knows bytes, not what they mean.
 */
#ifndef PIPELINE_CHECKPOINT_H
#define PIPELINE_CHECKPOINT_H

#include <freshet/buffer.h>
#include <freshet/error.h>

#include <stdio.h>

enum { PIPELINE_CHECKPOINT_VERSION = 1, PIPELINE_CHECKPOINT_RECORDS = 1024 };

struct pipeline_checkpoint_head {
    uint64_t fingerprint; /* of the catalogue */
    uint64_t partition, partitions; /* and how many there are: who is in it goes by both */
    int64_t next; /* offset of the changelog: what is before it is in here */
    int64_t made_ms; /* by the maker's clock, before it looked: all that is not in here was written later */
    struct fr_slice group, marker; /* as the changelog has the marker; read: good until the reader is closed */
};

struct pipeline_checkpoint_record { /* until the next read */
    struct fr_slice key, value;
};

/* ---- writing ---- */

struct pipeline_checkpoint_writer;

/* Makes `path`, or empties it. FR_UNAVAILABLE: the directory cannot be written; FR_EXHAUSTED: out of memory. */
FR_CHECKED bool pipeline_checkpoint__create(const char *path, const struct pipeline_checkpoint_head *head,
                                            struct pipeline_checkpoint_writer **writer, struct fr_err *err);
/* Copies the record. Fails as creating does; then abandon it. */
FR_CHECKED bool pipeline_checkpoint__append(struct pipeline_checkpoint_writer *writer, struct fr_slice key,
                                            struct fr_slice value, struct fr_err *err);
uint64_t pipeline_checkpoint__bytes(const struct pipeline_checkpoint_writer *writer); /* so far */
/* Ends the file, and gives it its name when it is on the disk. Frees the writer, also when it fails; nothing is left then. */
FR_CHECKED bool pipeline_checkpoint__finish(struct pipeline_checkpoint_writer *writer, const char *name, struct fr_err *err);
void pipeline_checkpoint__abandon(struct pipeline_checkpoint_writer *writer); /* removes the file; NULL is fine */

/* ---- reading ---- */

struct pipeline_checkpoint_reader;

/*
 * Looks whether the file is whole, and reads its head. Takes `file`, which can be seeked, also when it fails. `name` is for
 * messages. FR_CORRUPT: it is no checkpoint, of another version, or not whole.
 */
FR_CHECKED bool pipeline_checkpoint__open(FILE *file, const char *name, struct pipeline_checkpoint_head *head,
                                          struct pipeline_checkpoint_reader **reader, struct fr_err *err);
/*
 * Gives how many records, PIPELINE_CHECKPOINT_RECORDS at most, and as many of the same file each time that it is read; 0: that
 * were all, as many as there were; −1: FR_CORRUPT or FR_EXHAUSTED.
 */
int pipeline_checkpoint__read(struct pipeline_checkpoint_reader *reader, struct pipeline_checkpoint_record *records,
                              struct fr_err *err);
void pipeline_checkpoint__close(struct pipeline_checkpoint_reader *reader); /* NULL is fine */

/* ---- whether it may be used ---- */

struct pipeline_checkpoint_wanted {
    uint64_t fingerprint, partition, partitions;
    const char *group;
    int64_t low, end; /* of the changelog */
    int64_t now_ms, oldest_ms; /* how old it may be: deletes that follow it are in the changelog for so long */
};

/* NULL: it may; else why not. */
const char *pipeline_checkpoint__unfit(const struct pipeline_checkpoint_head *head,
                                       const struct pipeline_checkpoint_wanted *wanted);

#endif
