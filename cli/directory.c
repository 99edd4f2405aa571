/*
 * A directory for a while: made below TMPDIR, removed with all that is in it.
 */
#include "internal.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>

bool cli_directory__make(const char *purpose, char path[CLI_DIRECTORY_BYTES], struct fr_err *err)
{
    const char *parent = getenv("TMPDIR");

    snprintf(path, CLI_DIRECTORY_BYTES, "%s/freshet-%s-XXXXXX", parent && *parent ? parent : P_tmpdir, purpose);
    if (mkdtemp(path))
        return true;
    (void)fr_fail(err, FR_UNAVAILABLE, "cannot make '%s': %s; set TMPDIR", path, strerror(errno));
    path[0] = 0;
    return false;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    (void)remove(path);
    return 0;
}

void cli_directory__remove(const char *path)
{
    if (*path)
        (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
