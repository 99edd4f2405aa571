#include <freshet/log.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Standard error while a test looks at it: a pipe, whose other end is read when the test asks. */
struct capture {
    int saved;
    int reader;
    char text[16384];
};

static void begin(struct capture *capture)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    capture->saved = dup(STDERR_FILENO);
    capture->reader = ends[0];
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
}

static const char *end(struct capture *capture)
{
    size_t length = 0;
    ssize_t got;

    dup2(capture->saved, STDERR_FILENO);
    close(capture->saved);
    while ((got = read(capture->reader, capture->text + length, sizeof(capture->text) - 1 - length)) > 0)
        length += (size_t)got;
    capture->text[length] = '\0';
    close(capture->reader);
    return capture->text;
}

static int lines_of(const char *text)
{
    int count = 0;

    for (; *text; text++)
        count += *text == '\n';
    return count;
}

static void a_line_says_when_how_bad_and_who(void **state)
{
    struct capture capture;
    const char *text;

    (void)state;
    begin(&capture);
    fr_log(FR_LOG_WARN, "ingest", "broker %s is away", "b1");
    text = end(&capture);
    assert_int_equal(strlen(text), strlen("2026-11-23T08:11:02.123Z warn ingest: broker b1 is away\n"));
    assert_int_equal(text[10], 'T');
    assert_string_equal(text + 23, "Z warn ingest: broker b1 is away\n");
}

static void lines_below_the_level_are_dropped(void **state)
{
    struct capture capture;

    (void)state;
    begin(&capture);
    fr_log(FR_LOG_DEBUG, "base", "dropped");
    fr_log_level_set(FR_LOG_ERROR);
    fr_log(FR_LOG_WARN, "base", "dropped");
    fr_log(FR_LOG_ERROR, "base", "kept");
    fr_log_level_set(FR_LOG_INFO);
    assert_int_equal(lines_of(end(&capture)), 1);
}

static void control_characters_cannot_make_a_second_line(void **state)
{
    struct capture capture;
    const char *text;

    (void)state;
    begin(&capture);
    fr_log(FR_LOG_INFO, "base", "%s",
           "a\nb\x1b[2Jc\xc2\x9b"
           "d\x7f"
           "é");
    text = end(&capture);
    assert_int_equal(lines_of(text), 1);
    assert_null(strchr(text, '\x1b'));
    assert_non_null(strstr(text, "a b [2Jc  d é\n"));
}

static void a_long_message_is_cut_to_one_line(void **state)
{
    struct capture capture;
    char message[10000];
    const char *text;

    (void)state;
    memset(message, 'x', sizeof(message) - 1);
    message[sizeof(message) - 1] = '\0';
    begin(&capture);
    fr_log(FR_LOG_INFO, "base", "%s", message);
    text = end(&capture);
    assert_true(strlen(text) < 2048);
    assert_int_equal(lines_of(text), 1);
}

static void a_flood_from_one_place_is_held_back_and_told(void **state)
{
    struct fr_log_place place = {0};
    struct capture capture;
    const char *text;

    (void)state;
    begin(&capture);
    for (int i = 0; i < 10; i++)
        fr_log_limited(&place, 2, FR_LOG_INFO, "base", "line %d", i);
    place.minute = -1; /* a minute that is over: whatever the clock says, the next line opens a new one */
    fr_log_limited(&place, 2, FR_LOG_INFO, "base", "line %d", 10);
    text = end(&capture);
    assert_true(lines_of(text) >= 3 && lines_of(text) <= 5); /* a true minute may turn meanwhile */
    assert_non_null(strstr(text, "line 0\n"));
    assert_non_null(strstr(text, "more held back)\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_says_when_how_bad_and_who),
        cmocka_unit_test(lines_below_the_level_are_dropped),
        cmocka_unit_test(control_characters_cannot_make_a_second_line),
        cmocka_unit_test(a_long_message_is_cut_to_one_line),
        cmocka_unit_test(a_flood_from_one_place_is_held_back_and_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
