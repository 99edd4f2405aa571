/*
 * The directory of a store: FRESHET, the mark that it is ours, locked while a process has it open and naming that process;
 * epochs/, where an epoch's file is written before RocksDB takes it over (what is left there by a crash was never durable and
 * goes at open); the rest is RocksDB's. A file in epochs/ may be all that is left of a hand-over that failed half-way (rescue.c), so it goes
 * only when RocksDB is open. The lock is taken before RocksDB touches anything: RocksDB itself moves its log away
 * before it looks at its own lock. flock(), not fcntl(): closing any other descriptor of the file would drop the latter.
 */
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char mark_name[] = "FRESHET";
static const char epochs_name[] = "epochs";

static bool join(const char *path, const char *name, char out[PATH_MAX], struct fr_err *err)
{
    int length = snprintf(out, PATH_MAX, "%s/%s", path, name);

    return (length > 0 && length < PATH_MAX) ||
           fr_fail(err, FR_BAD_CONFIG, "store: the path '%.60s…' is too long; use a shorter store.path", path);
}

/* What `errno` says, and what to do: a volume that belongs to somebody else is the usual reason. */
static bool fail_by_errno(const char *what, const char *path, const char *mend, struct fr_err *err)
{
    int error = errno;

    if (error == EACCES || error == EPERM)
        return fr_fail(err, FR_BAD_CONFIG,
                       "store: cannot %s '%s': %s for user %ld; give it to that user (chown), or change store.path", what, path,
                       strerror(error), (long)geteuid());
    return fr_fail(err, FR_BAD_CONFIG, "store: cannot %s '%s': %s%s", what, path, strerror(error), mend);
}

static bool make_one(const char *path, struct fr_err *err)
{
    struct stat status;

    if (mkdir(path, 0700) == 0 || (errno == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode)))
        return true;
    return fail_by_errno("make the directory", path, "; make it or change store.path", err);
}

static bool make_path(const char *path, struct fr_err *err)
{
    char part[PATH_MAX];

    if (!join(path, "", part, err))
        return false;
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (!make_one(part, err))
            return false;
        *slash = '/';
    }
    return true;
}

/* A freshly made file system has lost+found in it, and is as good as empty. `use` says what for. */
static bool check_ours(const char *path, const char *mark, const char *use, struct fr_err *err)
{
    DIR *directory = opendir(path);
    bool has_mark = false, has_others = false;
    struct dirent *entry;

    if (directory == NULL)
        return fail_by_errno("read the directory", path, "", err);
    while ((entry = readdir(directory)) != NULL) {
        has_mark |= mark != NULL && strcmp(entry->d_name, mark) == 0;
        has_others |=
            strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && strcmp(entry->d_name, "lost+found") != 0;
    }
    closedir(directory);
    return has_mark || !has_others ||
           fr_fail(err, FR_BAD_CONFIG, "store: '%s' holds other things; use an empty directory%s", path, use);
}

static bool fail_locked(const char *path, int mark, struct fr_err *err)
{
    char text[64] = {0};
    long pid = 0;

    if (errno != EWOULDBLOCK)
        return fr_fail(err, FR_BAD_CONFIG, "store: cannot lock '%s': %s", path, strerror(errno));
    if (pread(mark, text, sizeof(text) - 1, 0) > 0)
        (void)!sscanf(text, "freshet store, pid %ld", &pid);
    if (pid <= 0)
        return fr_fail(err, FR_BAD_CONFIG, "store: cannot open '%s': locked by another process; stop it or change store.path",
                       path);
    return fr_fail(err, FR_BAD_CONFIG, "store: cannot open '%s': locked by pid %ld; stop it or change store.path", path, pid);
}

static bool lock(const char *path, int *lock_fd, struct fr_err *err)
{
    char mark_path[PATH_MAX], text[64];

    if (!join(path, mark_name, mark_path, err))
        return false;
    int mark = open(mark_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (mark < 0)
        return fail_by_errno("open", mark_path, "", err);
    if (flock(mark, LOCK_EX | LOCK_NB) != 0) {
        (void)fail_locked(path, mark, err);
        close(mark);
        return false;
    }
    int length = snprintf(text, sizeof(text), "freshet store, pid %ld\n", (long)getpid());
    if (ftruncate(mark, 0) != 0 || pwrite(mark, text, (size_t)length, 0) != length) {
        (void)fr_fail(err, FR_BAD_CONFIG, "store: cannot write '%s': %s", mark_path, strerror(errno));
        close(mark);
        return false;
    }
    *lock_fd = mark;
    return true;
}

static bool sync_directory(const char *path, struct fr_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_synced = fd >= 0 && fsync(fd) == 0;
    int error = errno;

    if (fd >= 0)
        close(fd);
    return is_synced || fr_fail(err, FR_BAD_CONFIG, "store: cannot sync '%s': %s", path, strerror(error));
}

bool store_directory__claim(const char *path, const char *mark, struct fr_err *err)
{
    if (path == NULL || path[0] == 0)
        return fr_fail(err, FR_BAD_CONFIG, "store: no path; name a directory");
    return make_path(path, err) && check_ours(path, mark, ", or empty it", err);
}

bool store_directory__adopt(const char *path, struct fr_err *err)
{
    int lock_fd = -1;
    bool is_adopted = lock(path, &lock_fd, err) && sync_directory(path, err);

    store_directory__close(lock_fd);
    return is_adopted;
}

static bool make_epochs(const char *path, struct fr_err *err)
{
    char epochs_path[PATH_MAX];

    return join(path, epochs_name, epochs_path, err) && make_one(epochs_path, err) && sync_directory(path, err);
}

bool store_directory__clear_epochs(const char *path, struct fr_err *err)
{
    char epochs_path[PATH_MAX];

    if (!join(path, epochs_name, epochs_path, err))
        return false;

    DIR *directory = opendir(epochs_path);
    if (directory == NULL)
        return fr_fail(err, FR_BAD_CONFIG, "store: cannot read the directory '%s': %s", epochs_path, strerror(errno));
    bool is_clear = true;
    struct dirent *entry;
    while (is_clear && (entry = readdir(directory)) != NULL)
        is_clear = entry->d_name[0] == '.' || unlinkat(dirfd(directory), entry->d_name, 0) == 0;
    int error = errno;
    closedir(directory);
    if (!is_clear) /* it may be the other name of a file in use: writing over it would be the end of that one */
        return fr_fail(err, FR_BAD_CONFIG, "store: cannot empty '%s': %s; empty it", epochs_path, strerror(error));
    return sync_directory(epochs_path, err);
}

bool store_directory__left_epoch(const char *path, char out[PATH_MAX])
{
    char epochs_path[PATH_MAX];
    DIR *directory;
    struct dirent *entry;
    struct fr_err err;
    int count = 0;

    if (!join(path, epochs_name, epochs_path, &err) || (directory = opendir(epochs_path)) == NULL)
        return false;
    while ((entry = readdir(directory)) != NULL)
        if (entry->d_name[0] != '.' && join(epochs_path, entry->d_name, out, &err))
            count++;
    closedir(directory);
    return count == 1;
}

bool store_directory__sync(const char *path, struct fr_err *err)
{
    return sync_directory(path, err);
}

bool store_directory__look(const char *path, struct fr_err *err)
{
    char mark_path[PATH_MAX];

    if (path == NULL || path[0] == 0)
        return fr_fail(err, FR_BAD_CONFIG, "store: no path; name the directory of a store");
    if (!join(path, mark_name, mark_path, err))
        return false;
    return access(mark_path, F_OK) == 0 ||
           fr_fail(err, FR_BAD_CONFIG, "store: no store in '%s': %s: %s", path, mark_path, strerror(errno));
}

bool store_directory__open(const char *path, int *lock_fd, struct fr_err *err)
{
    if (path == NULL || path[0] == 0)
        return fr_fail(err, FR_BAD_CONFIG, "store: no path; set store.path");
    if (!make_path(path, err) || !check_ours(path, mark_name, " as store.path", err) || !lock(path, lock_fd, err))
        return false;
    /* The mark must be durable before anything else is: without it the rest would be others' things. */
    if (sync_directory(path, err) && make_epochs(path, err))
        return true;
    store_directory__close(*lock_fd);
    *lock_fd = -1;
    return false;
}

void store_directory__close(int lock_fd)
{
    if (lock_fd >= 0)
        close(lock_fd);
}

bool store_directory__free_bytes(const char *path, uint64_t *bytes, struct fr_err *err)
{
    struct statvfs status;

    if (statvfs(path, &status) != 0)
        return fr_fail(err, FR_UNAVAILABLE, "store: cannot ask for the free space of '%s': %s", path, strerror(errno));
    *bytes = (uint64_t)status.f_bavail * status.f_frsize;
    return true;
}

bool store_directory__epoch_path(const char *path, uint64_t epoch, char *out, size_t out_bytes, struct fr_err *err)
{
    int length = snprintf(out, out_bytes, "%s/%s/%020" PRIu64 ".sst", path, epochs_name, epoch);

    return (length > 0 && (size_t)length < out_bytes) ||
           fr_fail(err, FR_BAD_CONFIG, "store: the path '%.60s…' is too long", path);
}
