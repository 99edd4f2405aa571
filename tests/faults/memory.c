/*
 * Memory that runs out when it is told to, for LD_PRELOAD: allocations are counted by who asks, and one of them fails. Set by the
 * environment:
 *
 * FRESHET_MEMORY_FAULT: "N": the N-th allocation (from 1) fails; "N+": each one from there on.
 * FRESHET_MEMORY_WHOSE: "own" (unset, too): what the program's own code asks for; "foreign": what libraries do, C++'s new among it.
 * FRESHET_MEMORY_SITE: "LIBRARY+0xOFFSET": of the foreign ones only those count that are asked for there.
 * FRESHET_MEMORY_COUNT: at exit the two numbers, own and foreign, are written to this file.
 * FRESHET_MEMORY_SITES: at exit each place of a library that asked for memory, and how often, is written to this file.
 *
 * Whose it is the return address tells: the program's text is our own, all else is foreign. What libc allocates for us (fopen, a
 * thread) fails as a whole, at our call. Where one failed is told on stderr, for addr2line -e of the program.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EARLY_BYTES = 1 << 16, SITES = 1 << 14 };

struct site {
    _Atomic uintptr_t caller; /* 0: free */
    _Atomic uint64_t count;
};

static struct {
    uintptr_t base, start, end; /* of the program's text */
    bool is_foreign; /* whose fail */
    char *site_text; /* NULL: any place of a library */
    uintptr_t site; /* 0: of a library that is not there yet */
    bool lists_sites;
    uint64_t at;
    bool goes_on;
    _Atomic uint64_t counts[2];
    struct site sites[SITES];
} memory;

/* The next one of the name, which is the real one. */
#define REAL(name)                                                                                                             \
    static typeof(name) *real;                                                                                                 \
    if (!real)                                                                                                                 \
    real = (typeof(name) *)dlsym(RTLD_NEXT, #name)

static int find_text(struct dl_phdr_info *info, size_t bytes, void *unused)
{
    (void)bytes, (void)unused;
    memory.base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];

        if (header->p_type != PT_LOAD || (header->p_flags & PF_X) == 0)
            continue;
        memory.start = info->dlpi_addr + header->p_vaddr;
        memory.end = memory.start + header->p_memsz;
    }
    return 1; /* the program comes first; nothing else is asked */
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Of "LIBRARY+0xOFFSET" the address, when this is the library. */
static int find_site(struct dl_phdr_info *info, size_t bytes, void *user)
{
    const char *site = user, *plus = strrchr(site, '+'), *name = name_of(info->dlpi_name);

    (void)bytes;
    if (!plus || strlen(name) != (size_t)(plus - site) || strncmp(name, site, strlen(name)) != 0)
        return 0;
    memory.site = info->dlpi_addr + strtoull(plus + 1, NULL, 16);
    return 1;
}

__attribute__((constructor)) static void begin(void)
{
    const char *fault = getenv("FRESHET_MEMORY_FAULT"), *whose = getenv("FRESHET_MEMORY_WHOSE");

    memory.site_text = getenv("FRESHET_MEMORY_SITE");
    dl_iterate_phdr(find_text, NULL);
    memory.lists_sites = getenv("FRESHET_MEMORY_SITES") != NULL;
    if (memory.site_text)
        memory.counts[1] = 0; /* what other libraries' constructors asked for before this one ran */
    memory.is_foreign = whose && strcmp(whose, "foreign") == 0;
    memory.goes_on = fault && strchr(fault, '+');
    memory.at = fault ? strtoull(fault, NULL, 10) : 0;
}

static void list_sites(FILE *file)
{
    Dl_info own;

    if (!dladdr((void *)list_sites, &own))
        return;
    for (int i = 0; i < SITES; i++) {
        uintptr_t caller = memory.sites[i].caller;
        Dl_info info;

        if (caller && dladdr((void *)caller, &info) && info.dli_fbase != own.dli_fbase)
            fprintf(file, "%s+%#llx %llu\n", name_of(info.dli_fname), (unsigned long long)(caller - (uintptr_t)info.dli_fbase),
                    (unsigned long long)memory.sites[i].count);
    }
}

__attribute__((destructor)) static void end(void)
{
    const char *sites = memory.lists_sites ? getenv("FRESHET_MEMORY_SITES") : NULL;
    FILE *listed = sites ? fopen(sites, "w") : NULL;
    const char *path = getenv("FRESHET_MEMORY_COUNT");
    uint64_t own = memory.counts[0], foreign = memory.counts[1];
    FILE *file = path ? fopen(path, "w") : NULL;

    if (listed) {
        list_sites(listed);
        fclose(listed);
    }
    if (!file)
        return;
    fprintf(file, "%llu %llu\n", (unsigned long long)own, (unsigned long long)foreign);
    fclose(file);
}

static void note_site(uintptr_t caller)
{
    for (uintptr_t at = caller * 0x9e3779b97f4a7c15 >> 50, looks = 0; looks < SITES; looks++) {
        struct site *site = &memory.sites[(at + looks) % SITES];
        uintptr_t there = 0;

        if (atomic_compare_exchange_strong(&site->caller, &there, caller) || there == caller) {
            site->count++;
            return;
        }
    }
}

/* A library may come later: SASL's plugins are opened by the one who logs in. */
static bool is_at_site(uintptr_t caller)
{
    static __thread bool is_looking;

    if (!memory.site && !is_looking) {
        is_looking = true;
        dl_iterate_phdr(find_site, memory.site_text);
        is_looking = false;
    }
    return caller == memory.site;
}

static bool fails(const void *caller)
{
    uintptr_t from = (uintptr_t)caller;
    bool is_foreign = from < memory.start || from >= memory.end;
    uint64_t count;
    char text[128];

    if (is_foreign && memory.lists_sites)
        note_site(from);
    if (is_foreign && memory.site_text && !is_at_site(from))
        return false;
    count = atomic_fetch_add_explicit(&memory.counts[is_foreign], 1, memory_order_relaxed) + 1;
    if (memory.at == 0 || is_foreign != memory.is_foreign || (count != memory.at && !(memory.goes_on && count > memory.at)))
        return false;
    int length = snprintf(text, sizeof text, "memory: allocation %llu fails, asked for at %#llx\n", (unsigned long long)count,
                          (unsigned long long)(is_foreign ? from : from - memory.base - 1));
    if (!memory.goes_on || count == memory.at)
        (void)!write(STDERR_FILENO, text, (size_t)length);
    errno = ENOMEM;
    return true;
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t bytes)
{
    REAL(malloc);

    return fails(CALLER) ? NULL : real(bytes);
}

/* dlsym() may ask for memory before it can say where calloc() is. */
static void *take_early(size_t bytes)
{
    static char early[EARLY_BYTES] __attribute__((aligned(16)));
    static size_t used;
    void *taken = early + used;

    used += (bytes + 15) & ~(size_t)15;
    return used <= sizeof early ? taken : NULL;
}

void *calloc(size_t count, size_t bytes)
{
    static __thread bool is_looking;
    static typeof(calloc) *real;

    if (is_looking)
        return take_early(count * bytes);
    if (!real) {
        is_looking = true;
        real = (typeof(calloc) *)dlsym(RTLD_NEXT, "calloc");
        is_looking = false;
    }
    return fails(CALLER) ? NULL : real(count, bytes);
}

void *realloc(void *old, size_t bytes)
{
    REAL(realloc);

    return fails(CALLER) ? NULL : real(old, bytes);
}

void *reallocarray(void *old, size_t count, size_t bytes)
{
    REAL(reallocarray);

    return fails(CALLER) ? NULL : real(old, count, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    REAL(aligned_alloc);

    return fails(CALLER) ? NULL : real(alignment, bytes);
}

int posix_memalign(void **taken, size_t alignment, size_t bytes)
{
    REAL(posix_memalign);

    return fails(CALLER) ? ENOMEM : real(taken, alignment, bytes);
}

#undef strdup
#undef strndup
char *strdup(const char *text)
{
    REAL(strdup);

    return fails(CALLER) ? NULL : real(text);
}

char *strndup(const char *text, size_t bytes)
{
    REAL(strndup);

    return fails(CALLER) ? NULL : real(text, bytes);
}

int __asprintf_chk(char **text, int flag, const char *format, ...);
int __asprintf_chk(char **text, int flag, const char *format, ...)
{
    va_list arguments;
    int length;

    (void)flag;
    if (fails(CALLER)) {
        *text = NULL;
        return -1;
    }
    va_start(arguments, format);
    length = vasprintf(text, format, arguments);
    va_end(arguments);
    return length;
}

FILE *fopen(const char *path, const char *mode)
{
    REAL(fopen);

    return fails(CALLER) ? NULL : real(path, mode);
}

DIR *opendir(const char *path)
{
    REAL(opendir);

    return fails(CALLER) ? NULL : real(path);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *user)
{
    REAL(pthread_create);

    return fails(CALLER) ? EAGAIN : real(thread, attributes, run, user);
}

/* ---- C++: new, which throws ---- */

void *_Znwm(size_t bytes);
void *_Znam(size_t bytes);

static void *take_or_throw(size_t bytes, bool has_failed, void *(*real)(size_t))
{
    void (*throw)(void) = NULL;

    if (has_failed)
        throw = (void (*)(void))dlsym(RTLD_DEFAULT, "_ZSt17__throw_bad_allocv");
    if (throw)
        throw();
    return real(bytes);
}

void *_ZnwmRKSt9nothrow_t(size_t bytes, const void *unused);
void *_ZnwmSt11align_val_t(size_t bytes, size_t alignment);

void *_ZnwmRKSt9nothrow_t(size_t bytes, const void *unused)
{
    REAL(_ZnwmRKSt9nothrow_t);

    return fails(CALLER) ? NULL : real(bytes, unused);
}

void *_ZnwmSt11align_val_t(size_t bytes, size_t alignment)
{
    REAL(_ZnwmSt11align_val_t);
    void (*throw)(void) = fails(CALLER) ? (void (*)(void))dlsym(RTLD_DEFAULT, "_ZSt17__throw_bad_allocv") : NULL;

    if (throw)
        throw();
    return real(bytes, alignment);
}

void *_Znwm(size_t bytes)
{
    REAL(_Znwm);

    return take_or_throw(bytes, fails(CALLER), real);
}

void *_Znam(size_t bytes)
{
    REAL(_Znam);

    return take_or_throw(bytes, fails(CALLER), real);
}
