/*
 * Runs a fuzz target over every file of the directories and files given: the corpus as a regression test, without libFuzzer.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(4 << 20);
    size_t length;

    if (!file || !bytes) {
        fprintf(stderr, "replay: cannot read '%s'\n", path);
        exit(1);
    }
    length = fread(bytes, 1, 4 << 20, file);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, length);
    free(bytes);
    return 1;
}

static int run_directory(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    int files = 0;

    if (!directory) {
        fprintf(stderr, "replay: cannot open '%s'\n", path);
        exit(1);
    }
    while ((entry = readdir(directory))) {
        char file[4096];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        files += run_file(file);
    }
    closedir(directory);
    return files;
}

int main(int argc, char **argv)
{
    int files = 0;

    for (int i = 1; i < argc; i++) {
        struct stat status;

        files += stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode) ? run_directory(argv[i]) : run_file(argv[i]);
    }
    printf("%d inputs replayed\n", files);
    return files > 0 ? 0 : 1;
}
