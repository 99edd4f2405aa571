/*
 * A model on disk: little endian, in blocks of 64 KiB whose XXH64 are chained, the last one at the end. Written beside, and renamed once
 * what it learned is durable where it came from, so that a file is whole or is not there; the one before it stays, to roll back to.
 * Loading and going on gives the same bits as never having stopped.
 */
#include "line.h"

#include <freshet/fault.h>
#include <freshet/text.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK_BYTES = 1 << 16, PATH_BYTES = 544 };

static const char magic[8] = {'F', 'R', 'M', 'O', 'D', 'E', 'L', '2'};

struct head {
    char magic[8];
    uint64_t schema, version;
    int64_t position, newest_ms;
    uint64_t learned, rows;
    uint32_t flags, judged_bytes, is_frozen, promotions;
    struct learner_optimiser optimiser; /* that it learned by: whose place it has after a promotion */
};

enum { HAS_SEEN = 1, HAS_DRIFT = 2 }; /* flags */

struct kept_row {
    uint32_t coordinate, touched_s, count, has_factors;
};

struct stream { /* one way */
    FILE *file;
    uint64_t hash, left; /* left: to read, without the hash at the end */
    size_t used, filled;
    bool is_bad;
    uint8_t block[BLOCK_BYTES];
};

/* ---- writing ---- */

static void flush(struct stream *stream)
{
    stream->hash = fr_text_hash(stream->block, stream->used, stream->hash);
    stream->is_bad = stream->is_bad || fwrite(stream->block, 1, stream->used, stream->file) != stream->used;
    stream->used = 0;
}

static void put(struct stream *stream, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;

    while (length > 0) {
        size_t part = length < BLOCK_BYTES - stream->used ? length : BLOCK_BYTES - stream->used;

        memcpy(stream->block + stream->used, at, part);
        stream->used += part;
        at += part;
        length -= part;
        if (stream->used == BLOCK_BYTES)
            flush(stream);
    }
}

/* A failure that is ours, as a write's is. */
static void meet(enum fr_fault_point point, struct stream *stream)
{
    struct fr_err err;

    if (!fr_fault(point, &err))
        stream->is_bad = true;
}

static void put_rows(struct stream *stream, const struct learner_trainer *trainer)
{
    for (uint32_t number = 1; number < trainer->row_end; number++) {
        const struct learner_row *row = learner_slab__at(&trainer->rows, number);
        struct kept_row kept = {
            .coordinate = row->coordinate, .touched_s = row->touched_s, .count = row->count, .has_factors = row->factors != 0};

        if (number == (1 + trainer->row_end) / 2)
            meet(FR_FAULT_MID_MODEL_CHECKPOINT, stream);
        if (!row->coordinate)
            continue;
        put(stream, &kept, sizeof kept);
        put(stream, row->weights, (size_t)trainer->tasks * sizeof *row->weights);
        if (row->factors)
            put(stream, learner_slab__at(&trainer->pairs, row->factors), 2 * (size_t)trainer->factors * sizeof(float));
    }
}

static void put_drift(struct stream *stream, const struct learner_drift *drift)
{
    put(stream, &drift->newest_ms, sizeof drift->newest_ms);
    for (int i = 0; i < LEARNER_SPANS; i++) {
        const struct learner_span *span = &drift->spans[i];

        put(stream, &span->base_ms, sizeof span->base_ms);
        put(stream, &span->all, sizeof span->all);
        put(stream, span->labels, (size_t)drift->tasks * sizeof *span->labels);
        put(stream, span->bins, (size_t)drift->columns * LEARNER_DRIFT_BINS * sizeof *span->bins);
    }
}

static void put_line(struct stream *stream, const struct learner_line *line, uint64_t version)
{
    const struct learner_trainer *trainer = &line->trainer;
    size_t fixed = (size_t)trainer->dense + 1;
    struct head head = {.schema = line->schema->hash,
                        .version = version,
                        .position = line->position,
                        .newest_ms = trainer->newest_ms,
                        .learned = trainer->learned,
                        .rows = trainer->row_count,
                        .flags = (trainer->seen ? HAS_SEEN : 0) | (line->is_shadow ? 0 : HAS_DRIFT),
                        .judged_bytes = sizeof(struct learner_judged),
                        .is_frozen = line->is_frozen,
                        .promotions = line->promotions,
                        .optimiser = trainer->optimiser};

    memcpy(head.magic, magic, sizeof magic);
    put(stream, &head, sizeof head);
    put(stream, line->judged, (size_t)trainer->tasks * sizeof *line->judged);
    put(stream, trainer->fixed, fixed * (size_t)trainer->tasks * sizeof *trainer->fixed);
    put(stream, trainer->moments, fixed * sizeof *trainer->moments);
    if (trainer->seen)
        put(stream, trainer->seen, trainer->coordinates);
    put_rows(stream, trainer);
    if (!line->is_shadow)
        put_drift(stream, &line->drift);
    flush(stream);
}

static bool write_file(const struct learner_line *line, const char *path, struct stream *stream)
{
    struct learner_serving *serving =
        (struct learner_serving *)(uintptr_t)&line->serving; /* entering it changes nothing of it */
    int side;
    uint64_t version = learner_serving__enter(serving, &side)->version;

    learner_serving__leave(serving, side);
    stream->file = fopen(path, "wb");
    if (!stream->file)
        return false;
    put_line(stream, line, version);
    stream->is_bad = stream->is_bad || fwrite(&stream->hash, sizeof stream->hash, 1, stream->file) != 1 ||
                     fflush(stream->file) != 0 || fsync(fileno(stream->file)) != 0;
    return fclose(stream->file) == 0 && !stream->is_bad;
}

static void sync_directory(const char *path)
{
    char directory[PATH_BYTES];
    char *slash;
    int fd;

    snprintf(directory, sizeof directory, "%s", path);
    slash = strrchr(directory, '/');
    if (!slash)
        return;
    *slash = '\0';
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd); /* the rename itself is atomic; at worst the file before it is there after a power cut */
    close(fd);
}

/* Under both names, so that the model has a file at every moment. Where there are no hard links, it is without one for an instant. */
static bool keep(const char *path, const char *before)
{
    (void)unlink(before);
    return link(path, before) == 0 || errno == ENOENT || rename(path, before) == 0;
}

bool learner_file__write(const struct learner_line *line, struct fr_err *err)
{
    char beside[PATH_BYTES];
    struct stream *stream = calloc(1, sizeof *stream);
    bool is_written;

    if (!stream)
        return fr_fail(err, FR_EXHAUSTED, "learner: out of memory");
    snprintf(beside, sizeof beside, "%s.new", line->path);
    is_written = write_file(line, beside, stream);
    free(stream);
    if (is_written)
        return true;
    fr_fail(err, FR_UNAVAILABLE, "learner: cannot write '%s': %s; the model's file before it stays", beside, strerror(errno));
    (void)unlink(beside);
    return false;
}

bool learner_file__adopt(const char *path, bool keeps_before, struct fr_err *err)
{
    char beside[PATH_BYTES], before[PATH_BYTES];

    snprintf(beside, sizeof beside, "%s.new", path);
    snprintf(before, sizeof before, "%s.1", path);
    if (keeps_before && !keep(path, before))
        return fr_fail(err, FR_UNAVAILABLE, "learner: cannot keep '%s' as '%s': %s", path, before, strerror(errno));
    if (!fr_fault(FR_FAULT_MID_MODEL_CHECKPOINT, err))
        return false;
    if (rename(beside, path) != 0)
        return fr_fail(err, FR_UNAVAILABLE, "learner: cannot rename '%s': %s", beside, strerror(errno));
    sync_directory(path);
    return true;
}

/* ---- reading ---- */

static bool refill(struct stream *stream)
{
    size_t want = stream->left < BLOCK_BYTES ? (size_t)stream->left : BLOCK_BYTES;

    stream->used = 0;
    stream->filled = want > 0 ? fread(stream->block, 1, want, stream->file) : 0;
    stream->hash = fr_text_hash(stream->block, stream->filled, stream->hash);
    stream->left -= stream->filled;
    return stream->filled > 0 && stream->filled == want;
}

static bool take(struct stream *stream, void *bytes, size_t length)
{
    uint8_t *at = bytes;

    while (length > 0 && !stream->is_bad) {
        size_t part;

        if (stream->used == stream->filled && !refill(stream)) {
            stream->is_bad = true;
            break;
        }
        part = stream->filled - stream->used;
        part = length < part ? length : part;
        memcpy(at, stream->block + stream->used, part);
        stream->used += part;
        at += part;
        length -= part;
    }
    return !stream->is_bad;
}

static bool take_row(struct stream *stream, struct learner_trainer *trainer)
{
    struct kept_row kept;
    struct learner_row *row;
    float *factors;

    if (!take(stream, &kept, sizeof kept) || kept.coordinate == 0 || kept.coordinate > trainer->coordinates ||
        kept.count > UINT16_MAX)
        return false;
    row = learner_trainer__row(trainer, kept.coordinate - 1);
    if (!row || !take(stream, row->weights, (size_t)trainer->tasks * sizeof *row->weights))
        return false;
    row->touched_s = kept.touched_s;
    row->count = (uint16_t)kept.count;
    learner_trainer__mark(trainer, learner_trainer__number(trainer, kept.coordinate - 1), row);
    if (!kept.has_factors)
        return true;
    factors = learner_trainer__factors(trainer, row);
    return factors && take(stream, factors, 2 * (size_t)trainer->factors * sizeof(float));
}

static bool pass_over(struct stream *stream, size_t length)
{
    uint8_t unused[4096];

    while (length > 0) {
        size_t part = length < sizeof unused ? length : sizeof unused;

        if (!take(stream, unused, part))
            return false;
        length -= part;
    }
    return true;
}

static bool take_seen(struct stream *stream, const struct head *head, struct learner_trainer *trainer)
{
    if (!(head->flags & HAS_SEEN))
        return true;
    if (trainer->seen)
        return take(stream, trainer->seen, trainer->coordinates);
    return pass_over(stream, trainer->coordinates); /* admission was switched off since */
}

static bool take_drift(struct stream *stream, struct learner_drift *drift)
{
    bool ok = take(stream, &drift->newest_ms, sizeof drift->newest_ms);

    for (int i = 0; i < LEARNER_SPANS && ok; i++) {
        struct learner_span *span = &drift->spans[i];

        ok = take(stream, &span->base_ms, sizeof span->base_ms) && take(stream, &span->all, sizeof span->all) &&
             take(stream, span->labels, (size_t)drift->tasks * sizeof *span->labels) &&
             take(stream, span->bins, (size_t)drift->columns * LEARNER_DRIFT_BINS * sizeof *span->bins);
    }
    return ok;
}

static bool take_line(struct stream *stream, const struct head *head, struct learner_trainer *trainer,
                      struct learner_kept *kept)
{
    size_t fixed = (size_t)trainer->dense + 1;
    bool ok = head->judged_bytes == sizeof(struct learner_judged) &&
              take(stream, kept->judged, (size_t)trainer->tasks * sizeof *kept->judged) &&
              take(stream, trainer->fixed, fixed * (size_t)trainer->tasks * sizeof *trainer->fixed) &&
              take(stream, trainer->moments, fixed * sizeof *trainer->moments) && take_seen(stream, head, trainer);

    for (uint64_t i = 0; ok && i < head->rows; i++)
        ok = take_row(stream, trainer);
    if (ok && head->flags & HAS_DRIFT) /* it is the last */
        ok = kept->drift ? take_drift(stream, kept->drift) : pass_over(stream, stream->left + stream->filled - stream->used);
    trainer->newest_ms = head->newest_ms;
    trainer->learned = head->learned;
    kept->version = head->version;
    kept->position = head->position;
    kept->is_frozen = head->is_frozen != 0;
    kept->promotions = head->promotions;
    return ok && stream->left == 0 && stream->used == stream->filled;
}

static bool fail_whole(const char *path, struct fr_err *err)
{
    return fr_fail(err, FR_CORRUPT, "learner: '%s' is not whole: its checksum or length is wrong", path);
}

static bool has_hash(struct stream *stream)
{
    uint64_t hash = 0;

    return fread(&hash, sizeof hash, 1, stream->file) == 1 && hash == stream->hash;
}

static bool take_head(struct stream *stream, const char *path, struct head *head, struct fr_err *err)
{
    return (take(stream, head, sizeof *head) && memcmp(head->magic, magic, sizeof magic) == 0) ||
           fr_fail(err, FR_CORRUPT, "learner: '%s' is no model file of this version", path);
}

static bool load(struct stream *stream, const char *path, struct learner_trainer *trainer, struct learner_kept *kept,
                 struct fr_err *err)
{
    struct head head;

    if (!take_head(stream, path, &head, err))
        return false;
    if (head.schema != trainer->schema->hash)
        return fr_fail(err, FR_PRECONDITION,
                       "learner: '%s' is of other features, tasks, bits or factors than model '%s' has now", path,
                       trainer->schema->model->name);
    return (take_line(stream, &head, trainer, kept) && has_hash(stream)) || fail_whole(path, err);
}

/* NULL when it cannot be read. */
static struct stream *open_stream(const char *path, struct fr_err *err)
{
    struct stream *stream = calloc(1, sizeof *stream);
    struct stat status;

    if (!stream) {
        fr_fail(err, FR_EXHAUSTED, "learner: out of memory");
        return NULL;
    }
    stream->file = fopen(path, "rb");
    if (!stream->file || fstat(fileno(stream->file), &status) != 0)
        fr_fail(err, FR_UNAVAILABLE, "learner: cannot open '%s': %s", path, strerror(errno));
    else if (status.st_size < (off_t)(sizeof(struct head) + 8))
        fr_fail(err, FR_CORRUPT, "learner: '%s' is cut short", path);
    else {
        stream->left = (uint64_t)status.st_size - 8;
        return stream;
    }
    if (stream->file)
        fclose(stream->file);
    free(stream);
    return NULL;
}

bool learner_file__load(const char *path, struct learner_trainer *trainer, struct learner_kept *kept, struct fr_err *err)
{
    struct stream *stream = open_stream(path, err);
    bool ok;

    if (!stream)
        return false;
    ok = load(stream, path, trainer, kept, err);
    fclose(stream->file);
    free(stream);
    return ok;
}

bool learner_file_look(const char *path, struct learner_file_info *info, struct fr_err *err)
{
    struct stream *stream = open_stream(path, err);
    struct head head;
    bool ok;

    if (!stream)
        return false;
    ok = take_head(stream, path, &head, err);
    while (ok && stream->left > 0)
        ok = refill(stream) || fail_whole(path, err);
    ok = ok && (has_hash(stream) || fail_whole(path, err));
    if (ok)
        *info = (struct learner_file_info){.schema = head.schema,
                                           .version = head.version,
                                           .examples = head.learned,
                                           .coordinates = head.rows,
                                           .position = head.position,
                                           .promotions = head.promotions};
    fclose(stream->file);
    free(stream);
    return ok;
}

bool learner_file__glance(const char *path, uint32_t *promotions, struct learner_optimiser *optimiser)
{
    struct fr_err unread; /* who loads it says what is wrong with it */
    struct stream *stream = open_stream(path, &unread);
    struct head head;
    bool ok;

    if (!stream)
        return false;
    ok = take_head(stream, path, &head, &unread);
    if (ok) {
        *promotions = head.promotions;
        *optimiser = head.optimiser;
    }
    fclose(stream->file);
    free(stream);
    return ok;
}
