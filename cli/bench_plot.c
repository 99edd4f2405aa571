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
    ".part{fill:none;stroke:#0969da;stroke-width:1.5;stroke-dasharray:4 3}.range{stroke:#1f2328;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){.page{fill:#0d1117}.text,.head{fill:#f0f6fc}.small{fill:#9198a1}.axis{stroke:#3d444d}"
    ".ours{fill:#4493f8}.theirs{fill:#656c76}.line,.part{stroke:#4493f8}.range{stroke:#f0f6fc}}</style>";

enum { CURVE_COLUMN = 420, CURVE_WIDTH = 340, CURVE_TOP = 80, CURVE_BOTTOM = 260, CURVE_HEIGHT = 312 };
enum { BARS_WIDTH = 680, BARS_LEFT = 170, BARS_RIGHT = 470, BARS_TOP = 64, BARS_STEP = 40, BAR_HEIGHT = 24 };

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
    char number[32];
    double scale = most > 0 ? (BARS_RIGHT - BARS_LEFT) / most : 0;

    fr_buffer_append_format(svg,
                            "<text class=\"text\" x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>"
                            "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"3\"/>"
                            "<line class=\"range\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>"
                            "<text class=\"text\" x=\"%.1f\" y=\"%d\">%s%s</text>",
                            BARS_LEFT - 10, y + 17, name, class, BARS_LEFT, y, of.median * scale, BAR_HEIGHT,
                            BARS_LEFT + of.least * scale, BARS_LEFT + of.most * scale, y + BAR_HEIGHT / 2, y + BAR_HEIGHT / 2,
                            BARS_LEFT + of.most * scale + 8, y + 17, cli_bench_report__number(of.median, number), label);
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

/* ---- Curves ---- */

struct frame { /* where a curve is drawn */
    double left, x_least, x_most, y_most;
    bool is_log_x;
};

static double place_x(const struct frame *frame, double x)
{
    double from = frame->is_log_x ? log10(frame->x_least) : frame->x_least;
    double to = frame->is_log_x ? log10(frame->x_most) : frame->x_most;
    double at = frame->is_log_x ? log10(x) : x;

    return frame->left + (to > from ? (at - from) / (to - from) : 0.5) * CURVE_WIDTH;
}

static double place_y(const struct frame *frame, double y)
{
    return CURVE_BOTTOM - (frame->y_most > 0 ? y / frame->y_most : 0) * (CURVE_BOTTOM - CURVE_TOP);
}

/* 1, 2 or 5 times a power of ten, so that about four steps reach `most`. */
static double choose_step(double most)
{
    double power = most > 0 ? pow(10, floor(log10(most / 4))) : 1;
    double steps = most > 0 ? most / 4 / power : 1;

    return power * (steps > 5 ? 10 : steps > 2 ? 5 : steps > 1 ? 2 : 1);
}

static void draw_axes(struct fr_buffer *svg, const struct cli_bench_curve *curve, const struct frame *frame, double step)
{
    for (double y = 0; y <= frame->y_most * 1.001; y += step)
        fr_buffer_append_format(svg,
                                "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                                "<text class=\"small\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%g</text>",
                                frame->left, frame->left + CURVE_WIDTH, place_y(frame, y), place_y(frame, y), frame->left - 6,
                                place_y(frame, y) + 4, y);
    if (curve->is_log_x) {
        for (double x = frame->x_least; x <= frame->x_most * 1.001; x *= 10)
            fr_buffer_append_format(svg,
                                    "<text class=\"small\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">10"
                                    "<tspan dy=\"-5\" font-size=\"8\">%.0f</tspan></text>",
                                    place_x(frame, x), CURVE_BOTTOM + 18, log10(x));
    } else {
        for (double x = 0; x <= frame->x_most; x += 24)
            fr_buffer_append_format(svg, "<text class=\"small\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>",
                                    place_x(frame, x), CURVE_BOTTOM + 16, x);
    }
    fr_buffer_append_format(svg,
                            "<text class=\"text\" x=\"%.1f\" y=\"50\">%s</text>"
                            "<text class=\"small\" x=\"%.1f\" y=\"66\">%s</text>"
                            "<text class=\"small\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>",
                            frame->left, curve->title, frame->left, curve->y_label, frame->left + CURVE_WIDTH / 2.0,
                            CURVE_BOTTOM + 34, curve->x_label);
}

/* Its name stands over its last point. */
static void draw_line(struct fr_buffer *svg, const char *class, const struct cli_bench_curve *curve, const double *y,
                      const char *name, const struct frame *frame)
{
    int last = curve->count - 1;

    fr_buffer_append_format(svg, "<polyline class=\"%s\" points=\"", class);
    for (int i = 0; i < curve->count; i++)
        fr_buffer_append_format(svg, "%.1f,%.1f ", place_x(frame, curve->x[i]), place_y(frame, y[i]));
    fr_buffer_append_format(svg, "\"/><text class=\"small\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
                            place_x(frame, curve->x[last]) - 8, place_y(frame, y[last]) - 10, name);
}

static void draw_curve(struct fr_buffer *svg, const struct cli_bench_curve *curve, int column)
{
    struct frame frame = {.left = column * CURVE_COLUMN + 56.0, .is_log_x = curve->is_log_x};
    double step;

    if (curve->count == 0)
        return;
    for (int i = 0; i < curve->count; i++)
        frame.y_most = fmax(frame.y_most, curve->y[i]);
    step = choose_step(frame.y_most);
    frame.y_most = ceil(frame.y_most / step) * step;
    frame.x_least = curve->is_log_x ? pow(10, floor(log10(curve->x[0]))) : 0;
    frame.x_most = curve->x[curve->count - 1];
    draw_axes(svg, curve, &frame, step);
    draw_line(svg, "line", curve, curve->y, curve->line_name, &frame);
    draw_line(svg, "part", curve, curve->part, curve->part_name, &frame);
    for (int i = 0; i < curve->count; i++)
        fr_buffer_append_format(svg, "<circle class=\"ours\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>", place_x(&frame, curve->x[i]),
                                place_y(&frame, curve->y[i]));
}

void cli_bench_plot__curves(const char *title, const struct cli_bench_curve *curves, int count, struct fr_buffer *svg)
{
    open_svg(svg, CURVE_COLUMN * count, CURVE_HEIGHT, title);
    for (int i = 0; i < count; i++)
        draw_curve(svg, &curves[i], i);
    fr_buffer_append_text(svg, "</svg>\n");
}

bool cli_bench_plot__save(const struct fr_buffer *svg, const char *path, struct fr_err *err)
{
    FILE *file = fopen(path, "w");
    bool is_good = file && !svg->is_failed && fwrite(svg->bytes, 1, svg->length, file) == svg->length;

    is_good = file && fclose(file) == 0 && is_good;
    return is_good || fr_fail(err, FR_UNAVAILABLE, "cannot write %s: %s", path, strerror(errno));
}
