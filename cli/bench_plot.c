/*
 * Small pictures of what a benchmark found: SVG with its own style, light or dark as the reader's system is.
 */
#include "bench.h"

#include <errno.h>
#include <math.h>

static const char plot_style[] =
    "<style>.page{fill:#fff}.text{fill:#1f2328;font:13px system-ui,sans-serif}.small{fill:#59636e;font:11px "
    "system-ui,sans-serif}"
    ".head{fill:#1f2328;font:600 15px system-ui,sans-serif}.axis{stroke:#d1d9e0;stroke-width:1}.ours{fill:#0969da}"
    ".theirs{fill:#8c959f}.line{fill:none;stroke:#0969da;stroke-width:2}"
    "@media(prefers-color-scheme:dark){.page{fill:#0d1117}.text,.head{fill:#f0f6fc}.small{fill:#9198a1}.axis{stroke:#3d444d}"
    ".ours{fill:#4493f8}.theirs{fill:#656c76}.line{stroke:#4493f8}}</style>";

enum { BARS_WIDTH = 640, BARS_LEFT = 170, BARS_RIGHT = 470, BARS_TOP = 64, BARS_STEP = 40, BAR_HEIGHT = 24 };

static void open_svg(struct fr_buffer *svg, int width, int height, const char *title)
{
    fr_buffer_append_format(svg,
                            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
                            "role=\"img\" aria-label=\"%s\">%s<rect class=\"page\" width=\"%d\" height=\"%d\"/>"
                            "<text class=\"head\" x=\"16\" y=\"26\">%s</text>",
                            width, height, width, height, title, plot_style, width, height, title);
}

static void bar(struct fr_buffer *svg, int row, const char *name, const char *class, struct cli_bench_spread of, double most,
                const char *label)
{
    int y = BARS_TOP + row * BARS_STEP;
    double scale = most > 0 ? (BARS_RIGHT - BARS_LEFT) / most : 0;

    fr_buffer_append_format(svg,
                            "<text class=\"text\" x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>"
                            "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"3\"/>"
                            "<line class=\"text\" stroke=\"currentColor\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>"
                            "<text class=\"text\" x=\"%.1f\" y=\"%d\">%.3g%s</text>",
                            BARS_LEFT - 10, y + 17, name, class, BARS_LEFT, y, of.median * scale, BAR_HEIGHT,
                            BARS_LEFT + of.least * scale, BARS_LEFT + of.most * scale, y + BAR_HEIGHT / 2, y + BAR_HEIGHT / 2,
                            BARS_LEFT + of.most * scale + 8, y + 17, of.median, label);
}

void cli_bench_plot__bars(const struct cli_bench_report *report, struct fr_buffer *svg)
{
    struct cli_bench_spread ours = cli_bench_report__ours(report);
    int height = BARS_TOP + (report->peer_count + 1) * BARS_STEP + 12;
    double most = ours.most;
    char title[160], label[96];

    for (int i = 0; i < report->peer_count; i++)
        most = fmax(most, cli_bench_report__peer(report, i).most);
    snprintf(title, sizeof title, "freshet bench %s", report->name);
    open_svg(svg, BARS_WIDTH, height, title);
    fr_buffer_append_format(svg, "<text class=\"small\" x=\"16\" y=\"46\">%s: median and range of %d pair%s</text>",
                            report->unit, report->pairs, report->pairs == 1 ? "" : "s");
    bar(svg, 0, report->ours_name, "ours", ours, most, "");
    for (int i = 0; i < report->peer_count; i++) {
        snprintf(label, sizeof label, ", ours is %.2f ×", cli_bench_report__ratio(report, i).median);
        bar(svg, i + 1, report->peers[i].name, "theirs", cli_bench_report__peer(report, i), most, label);
    }
    fr_buffer_append_text(svg, "</svg>\n");
}

void cli_bench_plot__curves(const char *title, const struct cli_bench_curve *curves, int count, struct fr_buffer *svg)
{
    open_svg(svg, 440 * count, 300, title);
    (void)curves;
    fr_buffer_append_text(svg, "</svg>\n");
}

bool cli_bench_plot__save(const struct fr_buffer *svg, const char *path, struct fr_err *err)
{
    FILE *file = fopen(path, "w");
    bool is_good = file && !svg->is_failed && fwrite(svg->bytes, 1, svg->length, file) == svg->length;

    is_good = file && fclose(file) == 0 && is_good;
    return is_good || fr_fail(err, FR_UNAVAILABLE, "cannot write %s: %s", path, strerror(errno));
}
