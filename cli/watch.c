/*
 * freshet status --watch: asks a node every second, and shows what it says. On a terminal it goes on when the node goes away and comes back;
 * into a pipe it ends with the error.
 */
#include "watch.h"

#include <freshet/clock.h>
#include <freshet/message.h>

#include <stdlib.h>
#include <unistd.h>

enum { ASK_MS = 5000, WATCH_EVERY_MS = 1000, WATCH_ARENA_BYTES = 16 << 20 };

struct watch {
    struct cli_node node, operations;
    struct fr_arena *arena;
    struct fr_buffer reply, metrics, out;
    struct cli_figures figures;
    struct cli_screen screen;
    struct cli_watch_seen seen;
    char trouble[FR_MESSAGE_BYTES + 16];
};

/* One look at the node: its status, which has to come, and its metrics, which may. */
static bool look(struct watch *watch, struct fr_err *err)
{
    const Freshet__V1__StatusResponse *status;
    struct fr_err ignored;
    bool has_metrics;

    if (!cli_client__call(&watch->node, "freshet.v1.AdminService/Status", fr_slice_of("{}"), ASK_MS, &watch->reply, err))
        return false;
    fr_arena_reset(watch->arena, WATCH_ARENA_BYTES);
    watch->seen.status = NULL;
    status = (const Freshet__V1__StatusResponse *)proto_json_parse(&freshet__v1__status_response__descriptor,
                                                                   fr_buffer_slice(&watch->reply), watch->arena, err);
    if (!status)
        return fr_fail_in(err, "the node's reply");
    has_metrics = cli_client__get(&watch->operations, "/metrics", ASK_MS, &watch->metrics, &ignored);
    cli_figures__add(&watch->figures, status, has_metrics ? &watch->metrics : NULL, fr_clock_monotonic_ms());
    watch->seen.status = status;
    return true;
}

static void draw(struct watch *watch)
{
    fr_buffer_clear(&watch->out);
    watch->seen.now_ms = fr_clock_wall_ms();
    if (watch->screen.is_open) {
        cli_watch__frame(&watch->seen, &watch->screen, &watch->out);
        cli_screen__show(&watch->screen, &watch->out);
    } else {
        cli_watch__line(&watch->seen, &watch->out);
        fwrite(watch->out.bytes, 1, watch->out.length, stdout);
    }
}

/* Until ^C, or until the node cannot be asked and nobody looks at a screen. */
static bool watch_on(struct watch *watch, struct fr_err *err)
{
    while (!cli_signals__is_stopped()) {
        if (look(watch, err)) {
            watch->seen.trouble = NULL;
        } else if (watch->screen.is_open && watch->seen.status) {
            snprintf(watch->trouble, sizeof watch->trouble, "trying again: %s", err->message);
            watch->seen.trouble = watch->trouble;
        } else {
            return cli_signals__is_stopped();
        }
        if (!watch->screen.is_open && isatty(STDOUT_FILENO) == 1)
            cli_screen__open(
                &watch->screen); /* once there is something to show: an error before is told on the shell's screen */
        draw(watch);
        if (!watch->screen.is_open && fflush(stdout) != 0)
            return fr_fail(err, FR_UNAVAILABLE, "stdout cannot be written to");
        while (cli_screen__wait(&watch->screen, WATCH_EVERY_MS))
            draw(watch);
    }
    return true;
}

/* The port beside the API's, where nobody says another. */
static const char *operations_of(const char *api, const char *given, char *out, size_t capacity)
{
    const char *named = given ? given : getenv("FRESHET_OPERATIONS"), *colon = strrchr(api, ':');

    if (named && *named)
        snprintf(out, capacity, "%s", named);
    else
        snprintf(out, capacity, "%.*s:7071", (int)(colon ? colon - api : (long)strlen(api)), api);
    return out;
}

int cli_watch__run(const struct cli_command *command, const struct cli_node *node, const char *operations)
{
    struct watch *watch = calloc(1, sizeof *watch);
    char address[320];
    struct fr_err err;
    int result = CLI_OK;

    if (watch)
        watch->arena = fr_arena_new(WATCH_ARENA_BYTES);
    if (!watch || !watch->arena) {
        free(watch);
        return cli_command__say(command, CLI_FAILURE, "out of memory");
    }
    watch->node = watch->operations = *node;
    watch->operations.api = operations_of(node->api, operations, address, sizeof address);
    if (strncmp(address, "127.", 4) == 0 || strncmp(address, "localhost:", 10) == 0)
        watch->operations.tls_ca = watch->operations.tls_certificate = watch->operations.tls_key = NULL; /* always plaintext */
    watch->seen = (struct cli_watch_seen){.figures = &watch->figures, .api = node->api, .operations = address};
    fr_buffer_init(&watch->reply);
    fr_buffer_init(&watch->metrics);
    fr_buffer_init(&watch->out);
    cli_signals__catch(NULL, NULL);
    if (!watch_on(watch, &err)) {
        cli_screen__close(&watch->screen);
        result = cli_command__fail(command, &err);
    }
    cli_screen__close(&watch->screen);
    fr_buffer_fini(&watch->reply);
    fr_buffer_fini(&watch->metrics);
    fr_buffer_fini(&watch->out);
    fr_arena_free(watch->arena);
    free(watch);
    return result;
}
