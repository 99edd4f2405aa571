/*
 * Small files for tests, gone when the process ends.
 */
#ifndef TEST_CLI_FILES_H
#define TEST_CLI_FILES_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TEST_FILES_MAX = 64 };

static char test_files[TEST_FILES_MAX][128];
static int test_file_count;

static void test_files_remove(void)
{
    for (int i = 0; i < test_file_count; i++)
        unlink(test_files[i]);
}

/* A new file with these bytes; its name ends with `end`. */
static inline const char *test_file(const void *bytes, size_t length, const char *end)
{
    char *path = test_files[test_file_count++];
    FILE *file;

    if (test_file_count == 1)
        atexit(test_files_remove);
    snprintf(path, sizeof test_files[0], "%s/freshet-test-%d-%d%s", P_tmpdir, (int)getpid(), test_file_count, end);
    file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
        abort();
    return path;
}

#endif
