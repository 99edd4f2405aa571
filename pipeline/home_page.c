/*
 * The operations port's first page, and what belongs to it: the files of page/, put into the program when it is built.
 */
#include "internal.h"

#define EMBED(symbol, file)                                                                                                    \
    __asm__(".pushsection .rodata\n" #symbol ":\n.incbin \"" FRESHET_PAGE_FOLDER "/" file "\"\n" #symbol                       \
            "_end:\n.byte 0\n.popsection\n");                                                                                  \
    extern const uint8_t symbol[];                                                                                             \
    extern const uint8_t symbol##_end[]

EMBED(pipeline__page_html, "page.html");
EMBED(pipeline__page_css, "page.css");
EMBED(pipeline__page_js, "page.js");

void pipeline_pages__home(void *user, struct fr_buffer *body, const char **content_type, int *status)
{
    (void)user;
    (void)status;
    *content_type = "text/html; charset=utf-8";
    fr_buffer_append(body, pipeline__page_html, (size_t)(pipeline__page_html_end - pipeline__page_html));
}

void pipeline_pages__style(void *user, struct fr_buffer *body, const char **content_type, int *status)
{
    (void)user;
    (void)status;
    *content_type = "text/css; charset=utf-8";
    fr_buffer_append(body, pipeline__page_css, (size_t)(pipeline__page_css_end - pipeline__page_css));
}

void pipeline_pages__script(void *user, struct fr_buffer *body, const char **content_type, int *status)
{
    (void)user;
    (void)status;
    *content_type = "text/javascript; charset=utf-8";
    fr_buffer_append(body, pipeline__page_js, (size_t)(pipeline__page_js_end - pipeline__page_js));
}
