/* A terminal's other screen: nothing of a view stays when it is closed, and a frame takes the place of the one before without a flicker. */
#include "watch.h"

#include <freshet/clock.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WAIT_STEP_MS = 50, COLUMNS_LEAST = 20, LINES_LEAST = 4 };

static volatile sig_atomic_t is_resized; /* of the handler */

static void on_resize(int number)
{
    (void)number;
    is_resized = 1;
}

static bool says_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);

        if (value && *value) /* the first that is set decides */
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

static void write_all(const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, length);

        if (written <= 0)
            return;
        bytes += written;
        length -= (size_t)written;
    }
}

static void measure(struct cli_screen *screen)
{
    struct winsize size = {0};

    is_resized = 0;
    screen->columns = 80;
    screen->lines = 24;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
        screen->columns = size.ws_col < COLUMNS_LEAST ? COLUMNS_LEAST : size.ws_col;
        screen->lines = size.ws_row < LINES_LEAST ? LINES_LEAST : size.ws_row;
    }
}

void cli_screen__open(struct cli_screen *screen)
{
    static const char enter[] = "\033[?1049h\033[?25l\033[?7l"; /* the other screen; no cursor; long lines are cut */
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    struct sigaction action = {.sa_handler = on_resize};

    sigemptyset(&action.sa_mask);
    sigaction(SIGWINCH, &action, NULL);
    *screen = (struct cli_screen){.is_open = true, .has_unicode = says_utf8()};
    screen->has_colour = !(no_colour && *no_colour) && !(term && strcmp(term, "dumb") == 0);
    measure(screen);
    write_all(enter, sizeof enter - 1);
}

void cli_screen__close(struct cli_screen *screen)
{
    static const char leave[] = "\033[?7h\033[?25h\033[?1049l";

    if (screen->is_open)
        write_all(leave, sizeof leave - 1);
    screen->is_open = false;
}

/* How many bytes of a line fit: colours take no cell, and a letter of several bytes takes one. */
static size_t fitting(const char *line, size_t length, int columns)
{
    int cells = 0;

    for (size_t at = 0; at < length; at++) {
        if (line[at] == '\033') {
            while (at < length && line[at] != 'm')
                at++;
        } else if ((line[at] & 0xc0) != 0x80 && cells++ == columns) {
            return at;
        }
    }
    return length;
}

void cli_screen__show(struct cli_screen *screen, const struct fr_buffer *frame)
{
    const char *at = (const char *)frame->bytes, *end = at + frame->length;
    struct fr_buffer out;

    fr_buffer_init(&out);
    fr_buffer_append_text(&out, "\033[H");
    for (int line = 0; line < screen->lines && at < end; line++) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((next ? next : end) - at);

        fr_buffer_append_text(&out, line > 0 ? "\r\n" : "");
        fr_buffer_append(&out, at, fitting(at, length, screen->columns));
        fr_buffer_append_text(&out, "\033[0m\033[K");
        at = next ? next + 1 : end;
    }
    fr_buffer_append_text(&out, "\033[J");
    if (!out.is_failed)
        write_all((const char *)out.bytes, out.length);
    fr_buffer_fini(&out);
}

bool cli_screen__wait(struct cli_screen *screen, int64_t ms)
{
    int64_t end_ms = fr_clock_monotonic_ms() + ms;

    while (!cli_signals__is_stopped() && fr_clock_monotonic_ms() < end_ms) {
        if (is_resized) {
            measure(screen);
            return true;
        }
        fr_clock_sleep_ms(WAIT_STEP_MS);
    }
    return false;
}
