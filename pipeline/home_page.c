/*
 * The operations port's first page, and what belongs to it: the files of page/, put into the program when it is built.
 */
#include "services.h"

#define EMBED(symbol, file)                                                                                                    \
    __asm__(".pushsection .rodata\n" #symbol ":\n.incbin \"" FRESHET_PAGE_FOLDER "/" file "\"\n" #symbol                       \
            "_end:\n.byte 0\n.popsection\n");                                                                                  \
    extern const uint8_t symbol[];                                                                                             \
    extern const uint8_t symbol##_end[]

EMBED(pipeline__page_html, "page.html");
EMBED(pipeline__page_css, "page.css");
EMBED(pipeline__draw_js, "draw.js");
EMBED(pipeline__told_js, "told.js");
EMBED(pipeline__lookup_js, "lookup.js");
EMBED(pipeline__cluster_js, "cluster.js");
EMBED(pipeline__page_js, "page.js");

struct pipeline_file {
    const uint8_t *from, *to;
    const char *type;
};

static const char script[] = "text/javascript; charset=utf-8";

static const struct pipeline_file files[PIPELINE_FILES] = {
    [PIPELINE_PAGE_HTML] = {pipeline__page_html, pipeline__page_html_end, "text/html; charset=utf-8"},
    [PIPELINE_PAGE_CSS] = {pipeline__page_css, pipeline__page_css_end, "text/css; charset=utf-8"},
    [PIPELINE_DRAW_JS] = {pipeline__draw_js, pipeline__draw_js_end, script},
    [PIPELINE_TOLD_JS] = {pipeline__told_js, pipeline__told_js_end, script},
    [PIPELINE_LOOKUP_JS] = {pipeline__lookup_js, pipeline__lookup_js_end, script},
    [PIPELINE_CLUSTER_JS] = {pipeline__cluster_js, pipeline__cluster_js_end, script},
    [PIPELINE_PAGE_JS] = {pipeline__page_js, pipeline__page_js_end, script},
};

void *pipeline_pages__file_of(enum pipeline_file_name name)
{
    return (void *)&files[name];
}

void pipeline_pages__file(void *user, struct fr_buffer *body, const char **content_type, int *status)
{
    const struct pipeline_file *file = user;

    (void)status;
    *content_type = file->type;
    fr_buffer_append(body, file->from, (size_t)(file->to - file->from));
}
