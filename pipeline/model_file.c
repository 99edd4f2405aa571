/* A model's file taken out of a store or put into one: checked where it comes from, whole where it goes. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 16, PATH_BYTES = 1024 };

static bool copy(const char *from, const char *to, struct fr_err *err)
{
    uint8_t bytes[COPY_BYTES];
    char beside[PATH_BYTES + 8];
    int in = open(from, O_RDONLY | O_CLOEXEC), out;
    ssize_t got = 1;
    bool is_good;

    if (in < 0)
        return fr_fail(err, FR_UNAVAILABLE, "cannot open '%s': %s", from, strerror(errno));
    snprintf(beside, sizeof beside, "%s.new", to);
    out = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    is_good = out >= 0;
    while (is_good && (got = read(in, bytes, sizeof bytes)) > 0)
        is_good = write(out, bytes, (size_t)got) == got;
    is_good = is_good && got == 0 && fsync(out) == 0;
    if (!is_good || rename(beside, to) != 0)
        is_good = fr_fail(err, FR_UNAVAILABLE, "cannot write '%s': %s", to, strerror(errno));
    close(in);
    if (out >= 0)
        close(out);
    return is_good;
}

bool pipeline_model_copy(const char *from, const char *to, struct pipeline_model_file *file, struct fr_err *err)
{
    struct learner_file_info info;

    if (!learner_file_look(from, &info, err) || !copy(from, to, err))
        return false;
    *file = (struct pipeline_model_file){
        .schema = info.schema, .version = info.version, .examples = info.examples, .coordinates = info.coordinates};
    return true;
}
