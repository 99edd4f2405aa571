/*
 * A kernel that refuses a call when it is told to, for LD_PRELOAD: calls are counted by kind, whoever makes them (libc's own inside are
 * not seen), and one of them fails with what the kernel says when that happens. Set by the environment:
 *
 * FRESHET_CALLS_FAULT: "KIND:K": the K-th call of the kind (from 1) fails.
 * FRESHET_CALLS_COUNT: at exit "KIND COUNT" of each kind is written to this file.
 *
 * "name" is rename, link, unlink, mkdir. Of what befalls a disk for good (it is full, the power goes) disk.c does more. The real calls are made by number: dlsym() would
 * ask for memory, and memory is asked for by mmap().
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Kinds, and what the kernel says. Of a read or write it is the file's kind that tells: peers reset, disks fail. */
#define KINDS(X)                                                                                                               \
    X(SOCKET, "socket", EMFILE)                                                                                                \
    X(CONNECT, "connect", ECONNREFUSED)                                                                                        \
    X(BIND, "bind", EADDRINUSE)                                                                                                \
    X(LISTEN, "listen", EADDRINUSE)                                                                                            \
    X(ACCEPT, "accept", ECONNABORTED)                                                                                          \
    X(READ, "read", EIO)                                                                                                       \
    X(WRITE, "write", EIO)                                                                                                     \
    X(RECEIVE, "receive", ECONNRESET)                                                                                          \
    X(SEND, "send", EPIPE)                                                                                                     \
    X(SETSOCKOPT, "setsockopt", ENOBUFS)                                                                                       \
    X(GETSOCKOPT, "getsockopt", ENOBUFS)                                                                                       \
    X(GETSOCKNAME, "getsockname", ENOBUFS)                                                                                     \
    X(SHUTDOWN, "shutdown", ENOTCONN)                                                                                          \
    X(EPOLL_CREATE, "epoll_create", EMFILE)                                                                                    \
    X(EPOLL_CTL, "epoll_ctl", ENOSPC)                                                                                          \
    X(EPOLL_WAIT, "epoll_wait", EINTR)                                                                                         \
    X(POLL, "poll", EINTR)                                                                                                     \
    X(EVENTFD, "eventfd", EMFILE)                                                                                              \
    X(PIPE, "pipe", EMFILE)                                                                                                    \
    X(SOCKETPAIR, "socketpair", EMFILE)                                                                                        \
    X(FCNTL, "fcntl", EINVAL)                                                                                                  \
    X(IOCTL, "ioctl", EINVAL)                                                                                                  \
    X(OPEN, "open", EMFILE)                                                                                                    \
    X(STAT, "stat", EIO)                                                                                                       \
    X(SYNC, "sync", EIO)                                                                                                       \
    X(NAME, "name", EIO)                                                                                                       \
    X(SPACE, "space", ENOSPC)                                                                                                  \
    X(PTHREAD_CREATE, "pthread_create", EAGAIN)                                                                                \
    X(MMAP, "mmap", ENOMEM)                                                                                                    \
    X(MUNMAP, "munmap", ENOMEM)                                                                                                \
    X(MADVISE, "madvise", EAGAIN)                                                                                              \
    X(MPROTECT, "mprotect", ENOMEM)                                                                                            \
    X(GETRANDOM, "getrandom", EAGAIN)                                                                                          \
    X(GETADDRINFO, "getaddrinfo", EAGAIN)

#define KIND_OF(kind, name, error) kind,
#define NAME_OF(kind, name, error) name,
#define ERROR_OF(kind, name, error) error,
enum kind { KINDS(KIND_OF) COUNT };
static const char *const names[] = {KINDS(NAME_OF)};
static const int errors[] = {KINDS(ERROR_OF)};

static struct {
    enum kind kind;
    uint64_t at; /* 0: none fails */
    _Atomic uint64_t counts[COUNT];
} calls;

__attribute__((constructor)) static void begin(void)
{
    const char *fault = getenv("FRESHET_CALLS_FAULT"), *colon = fault ? strchr(fault, ':') : NULL;

    if (!colon)
        return;
    for (int kind = 0; kind < COUNT; kind++)
        if (strlen(names[kind]) == (size_t)(colon - fault) && strncmp(fault, names[kind], strlen(names[kind])) == 0)
            calls.kind = (enum kind)kind;
    calls.at = strtoull(colon + 1, NULL, 10);
    for (int kind = 0; kind < COUNT; kind++)
        calls.counts[kind] = 0; /* those of libraries' constructors before this one */
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("FRESHET_CALLS_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;

    if (!file)
        return;
    for (int kind = 0; kind < COUNT; kind++)
        fprintf(file, "%s %llu\n", names[kind], (unsigned long long)calls.counts[kind]);
    fclose(file);
}

static bool fails(enum kind kind)
{
    uint64_t count = atomic_fetch_add_explicit(&calls.counts[kind], 1, memory_order_relaxed) + 1;
    char text[128];

    if (count != calls.at || kind != calls.kind)
        return false;
    int length = snprintf(text, sizeof text, "calls: %s %llu fails\n", names[kind], (unsigned long long)count);
    syscall(SYS_write, STDERR_FILENO, text, (size_t)length);
    errno = errors[kind];
    return true;
}

/*
 * Reads and writes fail as peers reset and disks fail. What wakes threads (an eventfd, a pipe) is no such thing: the kernel has no
 * reason to refuse it, and is not counted.
 */
static bool fails_of(enum kind kind, int fd)
{
    struct stat status;
    bool is_known = syscall(SYS_fstat, fd, &status) == 0;

    if (is_known && fd > STDERR_FILENO && !S_ISREG(status.st_mode) && !S_ISSOCK(status.st_mode))
        return false;
    if (!fails(kind))
        return false;
    if (is_known && S_ISSOCK(status.st_mode))
        errno = kind == READ ? ECONNRESET : EPIPE;
    return true;
}

#define CALL(kind, number, ...) (fails(kind) ? -1 : syscall(number, __VA_ARGS__))
#define CALL_INT(kind, number, ...) (fails(kind) ? -1 : (int)syscall(number, __VA_ARGS__))

int socket(int domain, int type, int protocol)
{
    return CALL_INT(SOCKET, SYS_socket, domain, type, protocol);
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    return CALL_INT(CONNECT, SYS_connect, fd, address, length);
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    return CALL_INT(BIND, SYS_bind, fd, address, length);
}

int listen(int fd, int backlog)
{
    return CALL_INT(LISTEN, SYS_listen, fd, backlog);
}

int accept(int fd, struct sockaddr *address, socklen_t *length)
{
    return CALL_INT(ACCEPT, SYS_accept, fd, address, length);
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    return CALL_INT(ACCEPT, SYS_accept4, fd, address, length, flags);
}

ssize_t read(int fd, void *bytes, size_t count)
{
    return fails_of(READ, fd) ? -1 : syscall(SYS_read, fd, bytes, count);
}

ssize_t readv(int fd, const struct iovec *parts, int count)
{
    return fails_of(READ, fd) ? -1 : syscall(SYS_readv, fd, parts, count);
}

ssize_t pread(int fd, void *bytes, size_t count, off_t at)
{
    return CALL(READ, SYS_pread64, fd, bytes, count, at);
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    return fails_of(WRITE, fd) ? -1 : syscall(SYS_write, fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return fails_of(WRITE, fd) ? -1 : syscall(SYS_writev, fd, parts, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at)
{
    return CALL(WRITE, SYS_pwrite64, fd, bytes, count, at);
}

ssize_t recv(int fd, void *bytes, size_t count, int flags)
{
    return CALL(RECEIVE, SYS_recvfrom, fd, bytes, count, flags, NULL, NULL);
}

ssize_t recvfrom(int fd, void *bytes, size_t count, int flags, struct sockaddr *address, socklen_t *length)
{
    return CALL(RECEIVE, SYS_recvfrom, fd, bytes, count, flags, address, length);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    return CALL(RECEIVE, SYS_recvmsg, fd, message, flags);
}

ssize_t send(int fd, const void *bytes, size_t count, int flags)
{
    return CALL(SEND, SYS_sendto, fd, bytes, count, flags, NULL, 0);
}

ssize_t sendto(int fd, const void *bytes, size_t count, int flags, const struct sockaddr *address, socklen_t length)
{
    return CALL(SEND, SYS_sendto, fd, bytes, count, flags, address, length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return CALL(SEND, SYS_sendmsg, fd, message, flags);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    return CALL_INT(SETSOCKOPT, SYS_setsockopt, fd, level, name, value, length);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
    return CALL_INT(GETSOCKOPT, SYS_getsockopt, fd, level, name, value, length);
}

int getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    return CALL_INT(GETSOCKNAME, SYS_getsockname, fd, address, length);
}

int shutdown(int fd, int how)
{
    return CALL_INT(SHUTDOWN, SYS_shutdown, fd, how);
}

int epoll_create1(int flags)
{
    return CALL_INT(EPOLL_CREATE, SYS_epoll_create1, flags);
}

int epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    return CALL_INT(EPOLL_CTL, SYS_epoll_ctl, epoll, what, fd, event);
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout_ms)
{
    return CALL_INT(EPOLL_WAIT, SYS_epoll_wait, epoll, events, most, timeout_ms);
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    return CALL_INT(POLL, SYS_poll, fds, count, timeout_ms);
}

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t bytes);
int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t bytes)
{
    (void)bytes;
    return poll(fds, count, timeout_ms);
}

int eventfd(unsigned first, int flags)
{
    return CALL_INT(EVENTFD, SYS_eventfd2, first, flags);
}

int pipe(int fds[2])
{
    return CALL_INT(PIPE, SYS_pipe2, fds, 0);
}

int pipe2(int fds[2], int flags)
{
    return CALL_INT(PIPE, SYS_pipe2, fds, flags);
}

int socketpair(int domain, int type, int protocol, int fds[2])
{
    return CALL_INT(SOCKETPAIR, SYS_socketpair, domain, type, protocol, fds);
}

int fcntl(int fd, int what, ...)
{
    va_list arguments;
    void *argument;

    va_start(arguments, what);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    return CALL_INT(FCNTL, SYS_fcntl, fd, what, argument);
}

int ioctl(int fd, unsigned long what, ...)
{
    va_list arguments;
    void *argument;

    va_start(arguments, what);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    return CALL_INT(IOCTL, SYS_ioctl, fd, what, argument);
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    mode_t mode = 0;

    va_start(arguments, flags);
    if (flags & (O_CREAT | O_TMPFILE))
        mode = va_arg(arguments, mode_t);
    va_end(arguments);
    return CALL_INT(OPEN, SYS_openat, AT_FDCWD, path, flags, mode);
}

int stat(const char *path, struct stat *status)
{
    return CALL_INT(STAT, SYS_newfstatat, AT_FDCWD, path, status, 0);
}

int fstat(int fd, struct stat *status)
{
    return CALL_INT(STAT, SYS_fstat, fd, status);
}

int fsync(int fd)
{
    return CALL_INT(SYNC, SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return CALL_INT(SYNC, SYS_fdatasync, fd);
}

int sync_file_range(int fd, off_t from, off_t length, unsigned flags)
{
    return CALL_INT(SYNC, SYS_sync_file_range, fd, from, length, flags);
}

int rename(const char *from, const char *to)
{
    return CALL_INT(NAME, SYS_rename, from, to);
}

int link(const char *from, const char *to)
{
    return CALL_INT(NAME, SYS_link, from, to);
}

int unlink(const char *path)
{
    return CALL_INT(NAME, SYS_unlink, path);
}

int mkdir(const char *path, mode_t mode)
{
    return CALL_INT(NAME, SYS_mkdir, path, mode);
}

int fallocate(int fd, int mode, off_t at, off_t length)
{
    return CALL_INT(SPACE, SYS_fallocate, fd, mode, at, length);
}

int ftruncate(int fd, off_t length)
{
    return CALL_INT(SPACE, SYS_ftruncate, fd, length);
}

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t at)
{
    return fails(MMAP) ? MAP_FAILED : (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, at);
}

int munmap(void *address, size_t bytes)
{
    return CALL_INT(MUNMAP, SYS_munmap, address, bytes);
}

int madvise(void *address, size_t bytes, int advice)
{
    return CALL_INT(MADVISE, SYS_madvise, address, bytes, advice);
}

int mprotect(void *address, size_t bytes, int protection)
{
    return CALL_INT(MPROTECT, SYS_mprotect, address, bytes, protection);
}

ssize_t getrandom(void *bytes, size_t count, unsigned flags)
{
    return CALL(GETRANDOM, SYS_getrandom, bytes, count, flags);
}

/* ---- what is more than a call ---- */

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *user)
{
    static typeof(pthread_create) *real;

    if (!real)
        real = (typeof(pthread_create) *)dlsym(RTLD_NEXT, "pthread_create");
    return fails(PTHREAD_CREATE) ? EAGAIN : real(thread, attributes, run, user);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    static typeof(getaddrinfo) *real;

    if (!real)
        real = (typeof(getaddrinfo) *)dlsym(RTLD_NEXT, "getaddrinfo");
    return fails(GETADDRINFO) ? EAI_AGAIN : real(node, service, hints, found);
}
