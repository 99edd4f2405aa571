/*
 * What the files of the command line share. A command is a function; what it needs and could be tested without a node (rows of a
 * file, the map from columns to fields, the simulated world, the HTTP client, the progress bar) are nouns of their own below.
 * All of it is used by one thread, the main one.
 */
#ifndef FRESHET_CLI_INTERNAL_H
#define FRESHET_CLI_INTERNAL_H

#include <freshet/arena.h>
#include <freshet/buffer.h>
#include <freshet/error.h>
#include <freshet/event.h>
#include <freshet/slice.h>
#include <freshet/v1/admin.pb-c.h>
#include <freshet/v1/feature.pb-c.h>

#include <stdint.h>
#include <stdio.h>

/* ---- Commands: commands.c ---- */

enum { CLI_OK = 0, CLI_FAILURE = 1, CLI_USAGE = 2 }; /* exit codes */

struct cli_command {
    const char *name;
    const char *line; /* what it does, for the list */
    const char *usage; /* what follows "freshet NAME" */
    int (*run)(const struct cli_command *command, int argc, char **argv);
    const struct cli_teller *teller; /* set: it is told the options, which are not read then */
};

struct cli_option;
struct cli_positional;

struct cli_teller {
    void (*tell)(void *user, const struct cli_command *command, const struct cli_option *options,
                 const struct cli_positional *positional); /* NULL: none */
    void *user;
};

extern const struct cli_command cli_commands[]; /* ends with one without a name */
int cli_commands__count(void);

/* Hands the options of each command to `teller`, in the order of the table. */
void cli_commands__tell(const struct cli_teller *teller);

int cli_run__main(const struct cli_command *command, int argc, char **argv);
int cli_demo__main(const struct cli_command *command, int argc, char **argv);
int cli_check__main(const struct cli_command *command, int argc, char **argv);
int cli_produce__main(const struct cli_command *command, int argc, char **argv);
int cli_explain__main(const struct cli_command *command, int argc, char **argv);
int cli_get__main(const struct cli_command *command, int argc, char **argv);
int cli_top__main(const struct cli_command *command, int argc, char **argv);
int cli_related__main(const struct cli_command *command, int argc, char **argv);
int cli_status__main(const struct cli_command *command, int argc, char **argv);
int cli_model__main(const struct cli_command *command, int argc, char **argv);
int cli_digest__main(const struct cli_command *command, int argc, char **argv);
int cli_block__main(const struct cli_command *command, int argc, char **argv);
int cli_backup__main(const struct cli_command *command, int argc, char **argv);
int cli_restore__main(const struct cli_command *command, int argc, char **argv);
int cli_fsck__main(const struct cli_command *command, int argc, char **argv);
int cli_drain__main(const struct cli_command *command, int argc, char **argv);
int cli_forget__main(const struct cli_command *command, int argc, char **argv);
int cli_replay__main(const struct cli_command *command, int argc, char **argv);
int cli_skew__main(const struct cli_command *command, int argc, char **argv);
int cli_simulate__main(const struct cli_command *command, int argc, char **argv);
int cli_bench__main(const struct cli_command *command, int argc, char **argv);
int cli_manual__main(const struct cli_command *command, int argc, char **argv);

/* "freshet NAME: message" on stderr; returns the exit code that fits the error (FR_BAD_CONFIG of the command line is usage). */
int cli_command__fail(const struct cli_command *command, const struct fr_err *err);

/* The same with a text of one's own; returns `exit_code`. */
int cli_command__say(const struct cli_command *command, int exit_code, const char *format, ...) FR_PRINTF(3, 4);

/* ---- Options: options.c ---- */

enum { CLI_TEXTS_MAX = 64, CLI_OPTIONS_MAX = 32 };

struct cli_texts { /* of an option that may be repeated */
    const char *values[CLI_TEXTS_MAX];
    int count;
};

enum cli_option_kind {
    CLI_OPTION_FLAG, /* bool */
    CLI_OPTION_TEXT, /* const char * */
    CLI_OPTION_TEXTS, /* struct cli_texts */
    CLI_OPTION_NUMBER, /* uint64_t */
    CLI_OPTION_TIME, /* int64_t: Unix ms, or ISO 8601 */
};

struct cli_option {
    const char *name; /* without its dashes; NULL ends the table */
    enum cli_option_kind kind;
    const char *argument; /* what help calls the value: FILE, DIR and PATH are completed, and so is one of a|b|c */
    const char *help;
    void *value;
};

struct cli_positional { /* what is left after the options */
    const char *name; /* as help calls it; NULL: none is allowed */
    const char *const *words; /* what it may be, for completion, ended by NULL; NULL: anything */
    const char *value;
    bool is_required;
    bool is_many; /* all that is left is its: `values` */
    char **values;
    int value_count;
    struct cli_positional *next; /* comes after it; NULL: none */
};

/* Reads argv[1..]; −1: go on; otherwise the exit code, with help or the mistake told. */
int cli_options__read(const struct cli_command *command, const struct cli_option *options, struct cli_positional *positional,
                      int argc, char **argv);

/* ---- Which node: node.c ---- */

enum { CLI_TOKEN_BYTES = 320 };

struct cli_node {
    const char *api; /* HOST:PORT */
    const char *tls_ca; /* NULL: plaintext; a file, or "system" */
    const char *tls_certificate, *tls_key; /* both or neither */
    const char *token_file, *token; /* NULL: none; the file goes first */
};

/* The options of every command that asks a node. */
#define CLI_NODE_OPTIONS(node)                                                                                                 \
    {"api", CLI_OPTION_TEXT, "HOST:PORT", "the node (FRESHET_API; 127.0.0.1:7070)", &(node).api},                              \
        {"tls-ca", CLI_OPTION_TEXT, "FILE", "by TLS; who signs nodes, or system (FRESHET_TLS_CA)", &(node).tls_ca},            \
        {"tls-cert", CLI_OPTION_TEXT, "FILE", "certificate to show (FRESHET_TLS_CERT)", &(node).tls_certificate},              \
        {"tls-key", CLI_OPTION_TEXT, "FILE", "its key (FRESHET_TLS_KEY)", &(node).tls_key},                                    \
    {                                                                                                                          \
        "token-file", CLI_OPTION_TEXT, "FILE", "bearer token to show (FRESHET_TOKEN_FILE; FRESHET_TOKEN: itself)",             \
            &(node).token_file                                                                                                 \
    }

/* Fills what no option gave from the environment, and the address from the default. */
void cli_node__default(struct cli_node *node);

/* "" for none. FR_BAD_CONFIG: its file can't be read, or others can read it, or it is no token. */
FR_CHECKED bool cli_node__token(const struct cli_node *node, char token[CLI_TOKEN_BYTES], struct fr_err *err);

/* ---- Signals: signals.c ---- */

struct pipeline_node;

typedef void (*cli_stop_fn)(struct pipeline_node *node);

/*
 * From now on SIGINT and SIGTERM set a mark, and call `stop` (async-signal-safe) with `node` when there is one; the second signal
 * ends the process with 1.
 */
void cli_signals__catch(cli_stop_fn stop, struct pipeline_node *node);
bool cli_signals__is_stopped(void);

/* ---- Time and numbers as text: time.c ---- */

/* floor(text × 10^scale) of a decimal number ("1511658000.25", "1.5e9"), exactly. False: no number, or it does not fit. */
FR_CHECKED bool cli_time__decimal(struct fr_slice text, int scale, int64_t *value);

/* "2019-10-01 00:00:00 UTC", "2019-10-01T00:00:00.123Z", ±hh:mm; none is UTC → Unix ms, cut to ms. */
FR_CHECKED bool cli_time__iso(struct fr_slice text, int64_t *ms);

/* "2019-10-01T00:00:00.123Z"; at most 32 bytes. */
void cli_time__print(int64_t ms, char out[32]);

/* ---- A file's bytes, unpacked: input.c ---- */

struct cli_input;

/* "-" is stdin. gzip and zstd are known by their first bytes. */
FR_CHECKED bool cli_input__open(const char *path, struct cli_input **input, struct fr_err *err);
void cli_input__close(struct cli_input *input); /* NULL is fine */

/* Up to `capacity` bytes; *length 0 is the end. Fails on a read error or a broken or cut compressed stream. */
FR_CHECKED bool cli_input__read(struct cli_input *input, void *out, size_t capacity, size_t *length, struct fr_err *err);

/* Bytes read so far as they lie in the file, and how many it has (−1: not known). */
uint64_t cli_input__at(const struct cli_input *input);
int64_t cli_input__size(const struct cli_input *input);

/* ---- Its rows: csv.c, rows.c ---- */

enum {
    CLI_ROW_BYTES_MAX = 2 << 20,
    CLI_COLUMNS_MAX = 1024,
};

struct cli_csv { /* one record, split */
    struct fr_slice *fields; /* CLI_COLUMNS_MAX; borrow from the bytes or from `scratch` */
    int count;
    size_t raw_bytes; /* the record without its line end */
    size_t used_bytes; /* with it */
    uint64_t lines; /* it spans */
    struct fr_buffer scratch; /* fields that had doubled quotes */
};

enum cli_csv_result { CLI_CSV_ROW, CLI_CSV_MORE, CLI_CSV_BAD };

/*
 * Splits the first record of `bytes` (RFC 4180; LF and CRLF). MORE: it does not end here, and `is_end` says that more can come.
 * BAD: a quote that never closes or is followed by text; raw_bytes, used_bytes and lines then are those of its first line.
 */
enum cli_csv_result cli_csv__split(struct fr_slice bytes, bool is_end, char separator, struct cli_csv *csv);

/* Tab when the header has tabs and no comma. */
char cli_csv__separator(struct fr_slice header);

enum cli_row { CLI_ROW, CLI_ROW_BAD, CLI_ROW_TOO_LONG, CLI_ROW_END, CLI_ROW_FAILED };

struct cli_rows {
    struct cli_input *input; /* borrowed */
    uint8_t *bytes;
    size_t start, end, capacity;
    bool is_ended;
    uint64_t next_line; /* number of the line at `start`, from 1 */
    uint64_t line; /* of the row that was returned last */
    struct fr_slice raw;
};

FR_CHECKED bool cli_rows__init(struct cli_rows *rows, struct cli_input *input, struct fr_err *err);
void cli_rows__fini(struct cli_rows *rows);

/* The next line without its end, in rows->raw; empty lines are passed over. Valid until the next call. */
enum cli_row cli_rows__line(struct cli_rows *rows, struct fr_err *err);

/* The next CSV record, split; separator 0 asks the first line. */
enum cli_row cli_rows__csv(struct cli_rows *rows, char *separator, struct cli_csv *csv, struct fr_err *err);

/* The next message of a varint-delimited stream; `line` counts messages. */
enum cli_row cli_rows__message(struct cli_rows *rows, struct fr_err *err);

/* ---- From columns to fields: map.c, map_bind.c, map_row.c ---- */

enum { CLI_MAP_RULES_MAX = 128, CLI_MAP_VALUES_MAX = 256 };

enum cli_unit { CLI_UNIT_OWN, CLI_UNIT_S, CLI_UNIT_MS, CLI_UNIT_US, CLI_UNIT_ISO };

struct cli_map_value {
    struct fr_slice from, to;
    uint32_t number; /* of an action or scene */
};

struct cli_map_rule {
    struct fr_slice column; /* its name, or the constant */
    bool is_constant;
    int index; /* in the header, once bound; −1 of a constant */
    enum cli_unit unit;
    int field; /* enum proto_field */
    struct fr_slice attribute; /* the key, when field is PROTO_FIELD_ATTRIBUTES */
    struct cli_map_value *values;
    int value_count;
    bool has_values; /* parentheses were given, even empty ones */
    int position; /* in the text, from 1; 0: by itself */
};

struct cli_map {
    struct fr_arena *arena;
    struct cli_map_rule rules[CLI_MAP_RULES_MAX];
    int rule_count;
    int column_count; /* of the header, once bound */
};

/* Reads --map; NULL or "" is the empty map. FR_BAD_CONFIG names the character and the nearest field, action or unit. */
FR_CHECKED bool cli_map__parse(const char *text, struct cli_map **map, struct fr_err *err);
void cli_map__free(struct cli_map *map); /* NULL is fine */

/* Finds the columns in the header and adds those that map by themselves. FR_BAD_CONFIG: a column that is not there. */
FR_CHECKED bool cli_map__bind(struct cli_map *map, const struct fr_slice *header, int count, struct fr_err *err);

enum cli_skip { /* why a row gave no event */
                CLI_SKIP_NONE,
                CLI_SKIP_NO_ACTION,
                CLI_SKIP_BAD_TIME,
                CLI_SKIP_BAD_NUMBER,
                CLI_SKIP_BAD_TEXT, /* not UTF-8 */
                CLI_SKIP_BAD_CSV,
                CLI_SKIP_BAD_JSON,
                CLI_SKIP_BAD_PROTOBUF,
                CLI_SKIP_TOO_LONG,
                CLI_SKIPS
};
const char *cli_skip__name(enum cli_skip skip);

struct cli_row_events { /* of one row: the same event with each of the actions */
    struct proto_event event;
    struct fr_buffer attributes; /* encoded */
    uint32_t actions[CLI_MAP_RULES_MAX];
    int count;
};

/* `fields` has map->column_count entries. On a bad row `err` says what is wrong with it. */
enum cli_skip cli_map__row(const struct cli_map *map, const struct fr_slice *fields, struct cli_row_events *out,
                           struct fr_err *err);

/* The id of an event of a row that gives none. */
uint64_t cli_map__event_id(struct fr_slice raw, uint64_t line, uint32_t action);

/* ---- A file as records for Kafka: loader.c ---- */

enum cli_format { CLI_FORMAT_BY_NAME, CLI_FORMAT_JSONL, CLI_FORMAT_CSV, CLI_FORMAT_PB };

/* "jsonl", "csv", "pb"; NULL is CLI_FORMAT_BY_NAME. */
FR_CHECKED bool cli_format__parse(const char *text, enum cli_format *format, struct fr_err *err);

struct cli_loader_options {
    const char *path;
    enum cli_format format;
    const char *map;
    bool is_json; /* values as JSON, not protobuf */
};

struct cli_record {
    struct fr_slice key; /* user_id in decimal; empty without one */
    struct fr_slice value;
    struct proto_event event;
};

struct cli_loader;

FR_CHECKED bool cli_loader__open(const struct cli_loader_options *options, struct cli_loader **loader, struct fr_err *err);
void cli_loader__close(struct cli_loader *loader); /* NULL is fine */

/* The next record, valid until the next call; *is_end at the end of the file. Bad rows are counted, the first are told on stderr. */
FR_CHECKED bool cli_loader__next(struct cli_loader *loader, struct cli_record *record, bool *is_end, struct fr_err *err);

struct cli_loader_counts {
    uint64_t rows;
    uint64_t events;
    uint64_t skipped[CLI_SKIPS];
};
const struct cli_loader_counts *cli_loader__counts(const struct cli_loader *loader);
uint64_t cli_loader__skipped(const struct cli_loader *loader); /* all reasons */
uint64_t cli_loader__bad(const struct cli_loader *loader); /* all but no_action */
uint64_t cli_loader__at(const struct cli_loader *loader); /* as cli_input__at and __size */
int64_t cli_loader__size(const struct cli_loader *loader);

/* Encodes an event as the value and key of a record; `buffer` holds them. */
void cli_record__encode(const struct proto_event *event, bool is_json, struct fr_buffer *buffer, struct cli_record *record);

/* ---- What happens on the screen: progress.c, growth.c, table.c ---- */

/* One line: "[####------]  42 %  120,000 events  81,000/s  0:03 left"; size −1: no bar. */
void cli_progress__line(uint64_t at, int64_t size, uint64_t count, const char *what, int64_t elapsed_ms, char *out,
                        size_t capacity);

/* "1,234,567". */
const char *cli_progress__grouped(uint64_t value, char out[32]);

struct cli_progress { /* the bar on stderr, at most ten times a second; silent when stderr is no terminal */
    const char *what; /* is counted: "events" */
    bool is_shown;
    int64_t start_ms, drawn_ms;
};
void cli_progress__init(struct cli_progress *progress, const char *what);
void cli_progress__show(struct cli_progress *progress, uint64_t at, int64_t size, uint64_t count);
void cli_progress__fini(struct cli_progress *progress); /* wipes the line */

/* Sends no more than `rate` a second: how long to wait before the next, after `count` in `elapsed_us`. 0: now. */
int64_t cli_progress__pause_ms(uint64_t rate, uint64_t count, int64_t elapsed_us);

/* Says on a terminal, after a second, that a node works on `what` (static), and for how long; NULL where there is nothing to show. */
struct cli_waiting;
struct cli_waiting *cli_waiting__show(const char *what);
void cli_waiting__stop(struct cli_waiting *waiting); /* takes NULL; wipes the line */

/* What a backup of the store has to copy into `directory`: its files less those that are there. −1 when it cannot be seen from here. */
int64_t cli_growth__missing(const char *store, const char *directory);

/*
 * Shows on a terminal how the directory grows (expected_bytes −1: no bar), on a thread of its own, until it is stopped; NULL where there
 * is nothing to show.
 */
struct cli_growth;
struct cli_growth *cli_growth__show(const char *path, int64_t expected_bytes);
void cli_growth__stop(struct cli_growth *growth); /* takes NULL */

/* Cells row by row, as aligned columns: the first to the left, the others to the right. */
struct cli_table {
    struct fr_buffer text;
    size_t *ends; /* of each cell in `text` */
    int count, capacity;
    int columns;
    bool is_failed;
};
void cli_table__init(struct cli_table *table, int columns);
void cli_table__cell(struct cli_table *table, const char *format, ...) FR_PRINTF(2, 3);
void cli_table__print(const struct cli_table *table, const char *indent, FILE *out);
void cli_table__fini(struct cli_table *table);

/* ---- cluster.c ---- */

/* Lines of a node that is in a cluster; nothing of one that stands alone. */
void cli_cluster__print(const Freshet__V1__ClusterResponse *cluster, FILE *out);

/* ---- get.c ---- */

/* Element i of the field as a cell: names of actions and scenes, times as text; "-" past its end. */
void cli_get__element(struct cli_table *table, const Freshet__V1__Field *field, size_t i);

/* ---- Asking a node: client.c ---- */

/*
 * POST /`method` with a JSON body; the reply's body in `reply`. An error of the node comes back with its code and message,
 * one of the way as FR_UNAVAILABLE or FR_DEADLINE.
 */
FR_CHECKED bool cli_client__call(const struct cli_node *node, const char *method, struct fr_slice json, int timeout_ms,
                                 struct fr_buffer *reply, struct fr_err *err);

/* GET `path` of the same address, without a token: a page of the operations port. */
FR_CHECKED bool cli_client__get(const struct cli_node *node, const char *path, int timeout_ms, struct fr_buffer *reply,
                                struct fr_err *err);

/* ---- A directory for a while: directory.c ---- */

enum { CLI_DIRECTORY_BYTES = 512 };

/* Makes TMPDIR/freshet-PURPOSE-XXXXXX; on failure `path` is "". */
FR_CHECKED bool cli_directory__make(const char *purpose, char path[CLI_DIRECTORY_BYTES], struct fr_err *err);
void cli_directory__remove(const char *path); /* with all that is in it; "" is fine */

/* ---- The configuration of a node: node_config.c ---- */

struct pipeline_config;
struct pipeline_config_source;

/* Loads it; `name` is what mistakes call it. −1 and *config; otherwise the exit code, with the mistakes on stderr. */
int cli_node_config__load(const struct pipeline_config_source *source, const char *name, struct pipeline_config **config);

/* Runs the node until it is asked to stop or fails; takes the configuration over. The exit code. In run.c. */
int cli_run__node(const struct cli_command *command, struct pipeline_config *config);

/* Tells systemd, where it started the process: "READY=1", "STOPPING=1". In notify.c. */
void cli_notify(const char *state);

/* The first line of `run` and `demo --json`, flushed. */
bool cli_node_config__first_line(const struct pipeline_node *node);

/* ---- freshet demo: demo_catalogue.c, demo_traffic.c, demo_hot.c, demo_view.c ---- */

const char *cli_demo__catalogue(void); /* the built-in configuration, terminated */

enum { HOT_ENTRIES = 64, HOT_SHOWN = 5 };

struct cli_hot_entry {
    uint64_t id;
    double score;
};
struct cli_hot { /* what happened most in the last seconds, roughly: each second takes a fifth away */
    struct cli_hot_entry entries[HOT_ENTRIES];
    int64_t faded_ms; /* monotonic */
};
void cli_hot__add(struct cli_hot *hot, uint64_t id, double weight, int64_t now_ms);
int cli_hot__top(const struct cli_hot *hot, struct cli_hot_entry top[HOT_SHOWN]); /* how many there are */

struct cli_traffic; /* what demo produces: a file or the simulated world */

struct cli_traffic_options { /* what it points to must outlive the traffic */
    const char *brokers, *topic;
    bool is_json;
    struct cli_loader *loader; /* borrowed; NULL: simulated */
    uint64_t rate; /* events a second; 0: as fast as the node applies */
    uint64_t seed;
};
FR_CHECKED bool cli_traffic__open(const struct cli_traffic_options *options, struct pipeline_node *node,
                                  struct cli_traffic **traffic, struct fr_err *err);
void cli_traffic__close(struct cli_traffic *traffic); /* NULL is fine */

/*
 * Produces what is due, as far as the node keeps up: an embedded broker forgets what it cannot hold, so at most 20,000 events and
 * 4 MiB are on their way. *pause_ms: when to come again.
 */
FR_CHECKED bool cli_traffic__step(struct cli_traffic *traffic, int *pause_ms, struct fr_err *err);

struct cli_traffic_seen {
    uint64_t produced;
    bool is_replay;
    bool is_read; /* the file is at its end */
    bool is_applied; /* and the node has applied all of it */
    uint64_t at; /* in the file */
    int64_t size;
    uint64_t user_id; /* one that exists */
    struct cli_hot_entry items[HOT_SHOWN], rooms[HOT_SHOWN];
    int item_count, room_count;
};
void cli_traffic__look(struct cli_traffic *traffic, struct cli_traffic_seen *seen);

struct cli_view;

/* `file`: what is replayed, NULL for simulated traffic. Draws on stdout: over itself on a terminal, else a line now and then. */
struct cli_view *cli_view__new(const struct pipeline_node *node, const char *file,
                               bool has_fine_rank); /* NULL: out of memory */
void cli_view__free(struct cli_view *view); /* NULL is fine */
void cli_view__draw(struct cli_view *view, struct pipeline_node *node, const struct cli_traffic_seen *seen);

/* ---- Chance: simulate_random.c ---- */

struct cli_random { /* xoshiro256**: the same numbers on every machine */
    uint64_t state[4];
};
void cli_random__init(struct cli_random *random, uint64_t seed);
uint64_t cli_random__mix(uint64_t value); /* one to one */
uint64_t cli_random__next(struct cli_random *random);
double cli_random__unit(struct cli_random *random); /* [0, 1) */
uint64_t cli_random__below(struct cli_random *random, uint64_t end);
bool cli_random__chance(struct cli_random *random, double probability);
double cli_random__exponential(struct cli_random *random, double mean);
double cli_random__log_normal(struct cli_random *random, double median, double sigma);

struct cli_zipf { /* ranks 0 … count − 1, rank r with weight 1 / (r + 1)^exponent */
    double *cumulative;
    int count;
};
FR_CHECKED bool cli_zipf__init(struct cli_zipf *zipf, int count, double exponent);
void cli_zipf__fini(struct cli_zipf *zipf);
int cli_zipf__draw(const struct cli_zipf *zipf, struct cli_random *random);

/* ---- The simulated livestream and shop: simulate_{world,room,session,agenda,table,truth}.c ---- */

struct cli_world_options {
    uint64_t seed;
    int64_t start_ms; /* event time of the first event */
    double rate; /* events a second of event time */
    int users, items; /* 0: as many as suit the rate */
    double transfer; /* of those who watch a short video, how many go over to its maker's room, if that is open; 0: nobody */
    double swing; /* in [0, 1): how much the rate is above the mean at the busiest hour; 0: the same all day */
    FILE *truth; /* gets what is true of the world, as JSON lines; NULL: nobody is told */
    int64_t truth_end_ms; /* nobody is told of what would be sent at this time or later, for it is not sent */
};

struct cli_world;

/* NULL when out of memory. */
struct cli_world *cli_world__new(const struct cli_world_options *options);
void cli_world__free(struct cli_world *world); /* NULL is fine */

/*
 * The next event in the order of sending; without swing event number n is sent n / rate seconds after the start. Its own time is up to 5 s
 * earlier. One event in 200 comes twice. False when out of memory.
 */
FR_CHECKED bool cli_world__next(struct cli_world *world, struct proto_event *event, int64_t *sent_ms);

/* What is inside, for the files that make it. */

enum { WORLD_CATEGORIES = 40 };
#define WORLD_NONE UINT32_MAX

struct cli_world_habits { /* chances of somebody who likes a thing 1; they grow with the liking, and end at `most` */
    double click, cart, buy; /* of what is shown in the mall; of what is clicked; of what is in the cart (always the same) */
    double most, other_taste;
    double delay_median_s, delay_sigma, delay_most_s; /* from the cart to the purchase: log-normal, cut */
};
extern const struct cli_world_habits cli_world__habits;

enum cli_agenda_kind { AGENDA_SESSION, AGENDA_ROOM, AGENDA_EVENT, AGENDA_BURST, AGENDA_CREATOR };

struct cli_agenda_entry {
    int64_t at_us; /* of the world's own time, from 0 */
    uint64_t order; /* of adding: equal times keep it */
    uint32_t kind, index;
};

struct cli_agenda { /* what happens next: a binary heap */
    struct cli_agenda_entry *entries;
    int count, capacity;
    uint64_t added;
    bool is_failed; /* out of memory */
};
void cli_agenda__add(struct cli_agenda *agenda, int64_t at_us, enum cli_agenda_kind kind, uint32_t index);
bool cli_agenda__take(struct cli_agenda *agenda, struct cli_agenda_entry *entry);

struct cli_world_item {
    double price, length_s, charm;
};

struct cli_world_room { /* a place on the platform's front page; the room in it changes */
    uint64_t room_id;
    uint32_t creator, item; /* indices */
    int64_t begun_us, peak_us, end_us;
};

enum cli_session_kind { SESSION_LIVE, SESSION_FEED, SESSION_MALL };

struct cli_world_session {
    uint64_t user_id;
    uint64_t room_id;
    uint32_t room; /* index */
    enum cli_session_kind kind;
    int steps_left;
};

struct cli_world_secret { /* what an event does not say */
    uint64_t cart_id; /* of a purchase: the event from which its delay counts */
    double delay_s; /* 0: none */
    const char *intent; /* of a comment */
};

struct cli_world_pending { /* an event on its way */
    struct proto_event event;
    struct cli_world_secret secret;
    int64_t late_us;
    bool is_repeat; /* the second time */
    uint32_t next_free;
};

struct cli_world {
    struct cli_random random;
    struct cli_world_options options;
    struct cli_agenda agenda;
    struct cli_zipf user_ranks, item_ranks, creator_ranks, room_ranks;
    struct cli_world_item *items;
    struct cli_world_room *rooms;
    struct cli_world_session *sessions;
    struct cli_world_pending *pending;
    uint32_t pending_count, pending_capacity, first_free;
    int item_count, creator_count, room_count, session_count, user_count;
    uint64_t rooms_begun, events_made, events_sent, id_base;
    double clock_ms; /* since the start: when the next event is sent */
    int64_t warm_us; /* of the agenda: when the first event is sent */
    bool is_warm;
    uint32_t *unborn; /* creators who are still to come, the next one last */
    bool *is_unborn; /* by creator */
    int unborn_count;
    bool *is_newcomer; /* by creator: was not there at first */
    uint32_t newborn; /* waits for a room; WORLD_NONE: nobody does */
    struct fr_buffer from_video; /* an event's attributes: it came from a short video */
    uint32_t burst_room; /* index */
    uint64_t burst_room_id;
    int64_t burst_end_us;
};

uint64_t cli_world__item_id(uint32_t item);
uint64_t cli_world__creator_id(const struct cli_world *world, uint32_t item);
uint64_t cli_world__creator_id_of(uint32_t creator);
uint64_t cli_world__room_id(uint64_t number);
uint64_t cli_world__category_id(uint32_t item);
double cli_world__taste(const struct cli_world *world, uint64_t user_id, uint64_t category_id); /* about 1 on average */
bool cli_world__is_bot(const struct cli_world *world, uint64_t user_id);
bool cli_world__is_awake(const struct cli_world *world, uint32_t session, int64_t now_us); /* at night fewer are */

/* Puts an event on its way: it happens at `at_us` and is sent a little later. Its id; `secret` may be NULL. */
uint64_t cli_world__emit(struct cli_world *world, int64_t at_us, const struct proto_event *event,
                         const struct cli_world_secret *secret);

/* After watching a short video: into its maker's room for a while, or not. */
void cli_world__go_over(struct cli_world *world, const struct proto_event *seen, double liking, int64_t now_us);

/* The next thing that a session does; a session that ends makes room for another user's. */
void cli_world__session(struct cli_world *world, uint32_t session, int64_t now_us);

/* Rooms: one that is found when the world begins, in the midst of its life; that it is open; the next step of one. */
void cli_world__found_room(struct cli_world *world, struct cli_world_room *room);
void cli_world__say_room(struct cli_world *world, const struct cli_world_room *room, int64_t now_us);
void cli_world__room(struct cli_world *world, uint32_t room, int64_t now_us);
uint32_t cli_world__draw_room(struct cli_world *world, int64_t now_us); /* where somebody who comes now goes */
void cli_world__burst(struct cli_world *world, int64_t now_us); /* a crowd comes to one of the rooms for some minutes */
bool cli_world__is_burst(const struct cli_world *world, uint64_t room_id, int64_t now_us);
void cli_world__creator(struct cli_world *world, int64_t now_us); /* the next new creator is there */

/* What is true, told when it is so; nothing without a file, and nothing before the first event. */
/* Appends the members of an item's row in the table of items, without braces: tags, language, stock, price, duration_s. */
void cli_table__row(const struct cli_world *world, uint32_t item, struct fr_buffer *json);
/* The same of a creator's row in the table of creators: tier, region. */
void cli_table__creator(const struct cli_world *world, uint32_t creator, struct fr_buffer *json);

void cli_truth__begin(const struct cli_world *world);
void cli_truth__room(const struct cli_world *world, const struct cli_world_room *room);
void cli_truth__burst(const struct cli_world *world, int64_t now_us);
void cli_truth__creator(const struct cli_world *world, uint32_t creator, int64_t now_us);
void cli_truth__sent(const struct cli_world *world, const struct proto_event *event, const struct cli_world_secret *secret);

#endif
