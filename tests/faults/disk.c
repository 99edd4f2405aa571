/*
 * A disk that fails when it is told to, for LD_PRELOAD: calls on files below a directory are counted, and from one of them on something
 * happens. Set by the environment:
 *
 * FRESHET_DISK_DIR: the directory. Without it nothing is done.
 * FRESHET_DISK_FAULT: "ACTION:K", at the K-th call (from 1); a "+" behind K: at each one from there on.
 *   kill: SIGKILL before the call · lose: the power goes: what was never synced is gone, then SIGKILL · eio, enospc: the call fails ·
 *   short: a write takes half of it · slow: the call takes a quarter of a second
 * FRESHET_DISK_CALLS: which are counted: "write" (write, pwrite), "sync" (fsync, fdatasync), "space" (fallocate, ftruncate), "name" (open with O_CREAT,
 *   rename, link, unlink, mkdir), "read" (pread, read), separated by commas; unset: all but read.
 * FRESHET_DISK_COUNT: at exit the number of calls counted is written to this file.
 *
 * The power loss keeps of each file what it was at its last sync, and of a directory the names that it had when it was last synced.
 * A rename that was not synced stays done: file systems keep the order of such.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FDS = 4096, FILES = 8192 };

enum calls { WRITE = 1, SYNC = 2, SPACE = 4, NAME = 8, READ = 16 };
enum action { NOTHING, KILL, LOSE, FAIL_IO, FAIL_SPACE, SHORT, SLOW };
enum { SLOW_US = 250000 };

struct file {
    char path[PATH_MAX];
    off_t synced; /* bytes that a sync made durable */
    bool is_named; /* its name is durable */
    bool is_directory;
};

static struct {
    pthread_mutex_t lock;
    char directory[PATH_MAX];
    enum action action;
    unsigned calls;
    uint64_t at, count;
    bool goes_on;
    struct file *files[FILES];
    int file_count;
    struct file *by_fd[FDS];
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The next one of the name, which is the real one. */
#define REAL(name)                                                                                                             \
    static typeof(name) *real;                                                                                                 \
    if (!real)                                                                                                                 \
    real = (typeof(name) *)dlsym(RTLD_NEXT, #name)

static unsigned read_calls(const char *text)
{
    static const char *const names[] = {"write", "sync", "space", "name", "read"};
    unsigned calls = 0;

    if (!text)
        return WRITE | SYNC | SPACE | NAME;
    for (int i = 0; i < 5; i++)
        calls |= strstr(text, names[i]) ? 1u << i : 0;
    return calls;
}

__attribute__((constructor)) static void begin(void)
{
    static const char *const names[] = {"", "kill:", "lose:", "eio:", "enospc:", "short:", "slow:"};
    const char *directory = getenv("FRESHET_DISK_DIR"), *fault = getenv("FRESHET_DISK_FAULT");

    if (!directory)
        return;
    snprintf(disk.directory, sizeof disk.directory, "%s", directory);
    disk.calls = read_calls(getenv("FRESHET_DISK_CALLS"));
    for (int i = 1; fault && i <= SLOW; i++) {
        if (strncmp(fault, names[i], strlen(names[i])) != 0)
            continue;
        disk.action = (enum action)i;
        disk.at = strtoull(fault + strlen(names[i]), NULL, 10);
        disk.goes_on = strchr(fault, '+') != NULL;
    }
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("FRESHET_DISK_COUNT");
    FILE *file = path && disk.directory[0] ? fopen(path, "w") : NULL;

    if (!file)
        return;
    fprintf(file, "%llu\n", (unsigned long long)disk.count);
    fclose(file);
}

static bool is_ours(const char *path)
{
    size_t length = strlen(disk.directory);

    return length > 0 && strncmp(path, disk.directory, length) == 0;
}

/* ---- what is known of files; all with the lock ---- */

static struct file *find(const char *path)
{
    for (int i = 0; i < disk.file_count; i++)
        if (strcmp(disk.files[i]->path, path) == 0)
            return disk.files[i];
    return NULL;
}

static struct file *know(const char *path)
{
    struct file *file = find(path);

    if (file || disk.file_count == FILES || !(file = calloc(1, sizeof *file)))
        return file;
    snprintf(file->path, sizeof file->path, "%s", path);
    return disk.files[disk.file_count++] = file;
}

static struct file *of_fd(int fd)
{
    return fd >= 0 && fd < FDS ? disk.by_fd[fd] : NULL;
}

/* Of a directory that is synced all names are durable. */
static void sync_names(const char *directory)
{
    size_t length = strlen(directory);

    for (int i = 0; i < disk.file_count; i++) {
        const char *path = disk.files[i]->path;

        if (strncmp(path, directory, length) == 0 && path[length] == '/' && !strchr(path + length + 1, '/'))
            disk.files[i]->is_named = true;
    }
}

static void lose_power(void)
{
    for (int i = 0; i < disk.file_count; i++) {
        const struct file *file = disk.files[i];
        struct stat status;

        if (file->is_directory || stat(file->path, &status) != 0)
            continue;
        if (!file->is_named)
            (void)remove(file->path);
        else if (status.st_size > file->synced && truncate(file->path, file->synced) != 0)
            (void)remove(file->path);
    }
}

/* ---- what happens ---- */

static bool is_due(enum calls call)
{
    if ((disk.calls & call) == 0 || disk.action == NOTHING) {
        disk.count += (disk.calls & call) != 0;
        return false;
    }
    disk.count++;
    return disk.count == disk.at || (disk.goes_on && disk.count > disk.at);
}

/* True when the call is to fail with errno; with `is_short` the caller writes half. */
static bool strikes(enum calls call, bool *is_short)
{
    if (!is_due(call))
        return false;
    switch (disk.action) {
    case KILL:
        kill(getpid(), SIGKILL);
        pause();
        break;
    case LOSE:
        lose_power();
        kill(getpid(), SIGKILL);
        pause();
        break;
    case FAIL_IO:
        errno = EIO;
        return true;
    case FAIL_SPACE:
        errno = ENOSPC;
        return call != READ && call != SYNC;
    case SHORT:
        *is_short = call == WRITE;
        return false;
    case SLOW:
        usleep(SLOW_US);
        return false;
    default:
        return false;
    }
    return false;
}

static bool fails(enum calls call, const struct file *file)
{
    bool is_short = false;

    return file && strikes(call, &is_short);
}

#define LOCKED(statement)                                                                                                      \
    do {                                                                                                                       \
        pthread_mutex_lock(&disk.lock);                                                                                        \
        statement;                                                                                                             \
        pthread_mutex_unlock(&disk.lock);                                                                                      \
    } while (0)

/* ---- the calls ---- */

static bool begin_open(const char *path, int flags, bool *is_new)
{
    struct stat status;
    bool has_failed = false;

    *is_new = (flags & O_CREAT) && stat(path, &status) != 0;
    if (*is_new) {
        bool is_short = false;

        LOCKED(has_failed = strikes(NAME, &is_short));
    }
    return !has_failed;
}

static void note_open(int fd, const char *path, bool is_new)
{
    struct stat status;
    struct file *file;

    if (fd < 0 || fd >= FDS || fstat(fd, &status) != 0)
        return;
    pthread_mutex_lock(&disk.lock);
    file = is_new ? NULL : find(path);
    if (!file && (file = know(path))) {
        file->is_directory = S_ISDIR(status.st_mode);
        file->is_named = !is_new;
        file->synced = is_new ? 0 : status.st_size; /* what was there before us is durable */
    }
    disk.by_fd[fd] = file;
    pthread_mutex_unlock(&disk.lock);
}

int open(const char *path, int flags, ...)
{
    REAL(open);
    mode_t mode = 0;
    bool is_new = false;
    va_list arguments;
    int fd;

    va_start(arguments, flags);
    if (flags & (O_CREAT | O_TMPFILE))
        mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (!is_ours(path))
        return real(path, flags, mode);
    if (!begin_open(path, flags, &is_new))
        return -1;
    fd = real(path, flags, mode);
    note_open(fd, path, is_new);
    return fd;
}

int close(int fd)
{
    REAL(close);

    if (fd >= 0 && fd < FDS)
        LOCKED(disk.by_fd[fd] = NULL);
    return real(fd);
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    REAL(write);
    bool is_short = false, has_failed = false;

    if (of_fd(fd))
        LOCKED(has_failed = strikes(WRITE, &is_short));
    return has_failed ? -1 : real(fd, bytes, is_short && count > 1 ? count / 2 : count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at)
{
    REAL(pwrite);
    bool is_short = false, has_failed = false;

    if (of_fd(fd))
        LOCKED(has_failed = strikes(WRITE, &is_short));
    return has_failed ? -1 : real(fd, bytes, is_short && count > 1 ? count / 2 : count, at);
}

ssize_t pread(int fd, void *bytes, size_t count, off_t at)
{
    REAL(pread);
    bool has_failed = false;

    if (of_fd(fd))
        LOCKED(has_failed = fails(READ, of_fd(fd)));
    return has_failed ? -1 : real(fd, bytes, count, at);
}

static bool begin_sync(int fd)
{
    bool has_failed = false;

    LOCKED(has_failed = fails(SYNC, of_fd(fd)));
    return !has_failed;
}

static void note_sync(int fd)
{
    struct file *file = of_fd(fd);
    struct stat status;

    if (!file || fstat(fd, &status) != 0)
        return;
    LOCKED(file->synced = status.st_size);
    if (file->is_directory)
        LOCKED(sync_names(file->path));
}

int fsync(int fd)
{
    REAL(fsync);
    int result;

    if (!of_fd(fd))
        return real(fd);
    if (!begin_sync(fd))
        return -1;
    result = real(fd);
    if (result == 0)
        note_sync(fd);
    return result;
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    int result;

    if (!of_fd(fd))
        return real(fd);
    if (!begin_sync(fd))
        return -1;
    result = real(fd);
    if (result == 0)
        note_sync(fd);
    return result;
}

int fallocate(int fd, int mode, off_t at, off_t length)
{
    REAL(fallocate);
    bool has_failed = false;

    if (of_fd(fd))
        LOCKED(has_failed = fails(SPACE, of_fd(fd)));
    return has_failed ? -1 : real(fd, mode, at, length);
}

int ftruncate(int fd, off_t length)
{
    REAL(ftruncate);
    struct file *file = of_fd(fd);
    bool has_failed = false;

    if (file)
        LOCKED(has_failed = fails(SPACE, file));
    if (has_failed)
        return -1;
    if (file && file->synced > length)
        LOCKED(file->synced = length);
    return real(fd, length);
}

static bool name_fails(const char *path)
{
    bool has_failed = false, is_short = false;

    if (is_ours(path))
        LOCKED(has_failed = strikes(NAME, &is_short));
    return has_failed;
}

/* The other name is as durable as the first was; of a link it is new. */
static void note_name(const char *from, const char *to, bool is_link)
{
    struct file *file, *other;

    if (!is_ours(to))
        return;
    pthread_mutex_lock(&disk.lock);
    file = find(from);
    other = know(to);
    if (other) {
        struct stat status;
        off_t bytes = stat(to, &status) == 0 ? status.st_size : 0;

        other->synced = file ? file->synced : bytes;
        other->is_named = is_link ? false : file ? file->is_named : true;
    }
    pthread_mutex_unlock(&disk.lock);
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    int result;

    if (name_fails(to))
        return -1;
    result = real(from, to);
    if (result == 0)
        note_name(from, to, false);
    return result;
}

int link(const char *from, const char *to)
{
    REAL(link);
    int result;

    if (name_fails(to))
        return -1;
    result = real(from, to);
    if (result == 0)
        note_name(from, to, true);
    return result;
}

int unlink(const char *path)
{
    REAL(unlink);

    return name_fails(path) ? -1 : real(path);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);

    return name_fails(path) ? -1 : real(path, mode);
}
