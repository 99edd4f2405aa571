/*
 * The configuration's section `server`: where it listens, who may call, what a client may cost.
 */
#include "internal.h"

#include <stdio.h>
#include <string.h>

/* The watches' own, which stand with the others: they are what a client may cost. */
static void read_watch_limits(struct fr_yaml *limits, struct pipeline_watch_limits *watch, struct fr_diagnostics *diagnostics)
{
    *watch = (struct pipeline_watch_limits){.streams = 1000, .entities = 1000, .values = 1000000};
    fr_yaml_int(limits, "watches", 1, PIPELINE_WATCHES_MOST, &watch->streams, diagnostics);
    fr_yaml_int(limits, "watch_entities", 1, 100000, &watch->entities, diagnostics);
    fr_yaml_int(limits, "watch_values", 1, 1000000000, &watch->values, diagnostics);
}

static void read_limits(struct fr_yaml *server, struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    struct server_limits *limits = &config->limits;
    struct fr_yaml *yaml = fr_yaml_get(server, "limits");
    int64_t connections = limits->connections, slow_calls = limits->slow_calls;
    int64_t queued_calls = limits->queued_calls, early_calls = limits->early_calls, rate = 0, burst = 0;

    fr_yaml_int(yaml, "connections", 1, 1000000, &connections, diagnostics);
    fr_yaml_size(yaml, "message", 1024, UINT64_C(1) << 28, &limits->message_bytes, diagnostics);
    fr_yaml_span(yaml, "idle", 1000, INT64_C(86400000), &limits->idle_ms, diagnostics);
    fr_yaml_span(yaml, "header", 100, 600000, &limits->header_ms, diagnostics);
    fr_yaml_span(yaml, "body", 100, 600000, &limits->body_ms, diagnostics);
    fr_yaml_int(yaml, "slow_calls", 1, 10000, &slow_calls, diagnostics);
    fr_yaml_int(yaml, "queued_calls", 1, 1000000, &queued_calls, diagnostics);
    fr_yaml_int(yaml, "early_calls", 1, 100000, &early_calls, diagnostics);
    fr_yaml_span(yaml, "wait", 1, 600000, &limits->wait_ms, diagnostics);
    fr_yaml_size(yaml, "connection", 65536, UINT64_C(1) << 32, &limits->connection_bytes, diagnostics);
    fr_yaml_int(yaml, "rate", 1, 100000, &rate, diagnostics);
    fr_yaml_int(yaml, "burst", 1, 1000000, &burst, diagnostics);
    fr_yaml_span(yaml, "age", 1000, INT64_C(30) * 86400000, &limits->age_ms, diagnostics);
    fr_yaml_span(yaml, "grace", 0, 3600000, &limits->grace_ms, diagnostics);
    read_watch_limits(yaml, &config->watch_limits, diagnostics);
    fr_yaml_finish(yaml, "server.limits", NULL, 0, diagnostics);
    limits->connections = (int)connections;
    limits->slow_calls = (int)slow_calls;
    limits->queued_calls = (int)queued_calls;
    limits->early_calls = (int)early_calls;
    limits->rate = (int)rate;
    limits->burst = (int)burst;
    if (burst > 0 && rate == 0)
        fr_diagnostics_add(diagnostics, fr_yaml_get(yaml, "burst"),
                           "server.limits.burst: nothing without rate, the calls a second of each principal; set both");
}

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]", 5) == 0 || strncmp(address, "localhost:", 10) == 0;
}

bool pipeline_config__is_listening_anywhere(const struct pipeline_config *config)
{
    return strncmp(config->listen, "0.0.0.0:", 8) == 0 || strncmp(config->listen, "[::]:", 5) == 0;
}

static void check_address(struct fr_yaml *server, const char *key, const char *address, struct fr_diagnostics *diagnostics)
{
    struct fr_err err;
    char name[64];

    snprintf(name, sizeof name, "server.%s", key);
    if (!server_address_check(address, name, &err))
        fr_diagnostics_add(diagnostics, fr_yaml_get(server, key), "%s", err.message);
}

static void check_plaintext(struct fr_yaml *server, const char *key, const char *address, struct fr_diagnostics *diagnostics)
{
    if (address[0] && !is_loopback(address))
        fr_diagnostics_add(diagnostics, fr_yaml_get(server, key),
                           "server.%s: '%s' is not a loopback address and would be plaintext; listen on 127.0.0.1, give "
                           "server.tls a certificate and a "
                           "key, or set server.plaintext: anywhere if the network is trusted",
                           key, address);
}

/* ---- TLS ---- */

static void read_tls(struct fr_yaml *server, struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *yaml = fr_yaml_get(server, "tls");
    struct server_tls *tls = &config->tls;
    int before = diagnostics->count;
    struct fr_err err;

    if (!yaml)
        return;
    fr_yaml_text(yaml, "certificate", &tls->certificate, diagnostics);
    fr_yaml_text(yaml, "key", &tls->key, diagnostics);
    fr_yaml_text(yaml, "client_ca", &tls->client_ca, diagnostics);
    fr_yaml_text(yaml, "client_crl", &tls->client_crl, diagnostics);
    fr_yaml_finish(yaml, "server.tls", NULL, 0, diagnostics);
    if (diagnostics->count > before)
        return;
    if (!tls->certificate || !tls->key)
        fr_diagnostics_add(diagnostics, yaml, "server.tls: certificate and key belong together; name both, as files in PEM");
    else if (tls->client_crl && !tls->client_ca)
        fr_diagnostics_add(diagnostics, yaml,
                           "server.tls: client_crl is nothing without client_ca, whose list it is; name both");
    else if (!server_tls_check(tls, &err))
        fr_diagnostics_add(diagnostics, yaml, "server.tls: %s", err.message);
}

/* ---- Tokens ---- */

static unsigned read_groups(struct fr_yaml *yaml, struct fr_diagnostics *diagnostics)
{
    static const char *const names[SERVER_GROUPS] = {"read", "learn", "admin"};
    struct fr_yaml *groups = fr_yaml_get(yaml, "groups");
    unsigned found = 0;

    if (!groups || groups->kind != FR_YAML_LIST || groups->count == 0) {
        fr_diagnostics_add(diagnostics, groups ? groups : yaml,
                           "server.tokens: groups is missing or no list; say what it may call, as in groups: [read]");
        return 0;
    }
    for (int i = 0; i < groups->count; i++) {
        int at = 0;

        while (at < SERVER_GROUPS &&
               !(groups->values[i]->kind == FR_YAML_SCALAR && fr_slice_is(groups->values[i]->text, names[at])))
            at++;
        if (at == SERVER_GROUPS)
            fr_diagnostics_add(diagnostics, groups->values[i], "server.tokens: no such group; use read, learn and admin");
        else
            found |= 1u << at;
    }
    return found;
}

/* Messages never quote a token: what is wrong with it may be that it is another secret. */
static void check_token(struct fr_yaml *yaml, const struct server_grant *grant, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *token = fr_yaml_get(yaml, "token");
    struct fr_err err;

    if (!grant->token == !grant->certificate)
        fr_diagnostics_add(diagnostics, yaml,
                           "server.tokens: an entry has either a token, as in token: ${RANKER_TOKEN}, or the certificate name "
                           "of a client");
    else if (grant->token && token->written.length == token->text.length &&
             memcmp(token->written.bytes, token->text.bytes, token->text.length) == 0)
        fr_diagnostics_add(diagnostics, token,
                           "server.tokens: a token stands in the configuration; keep it out of here, as ${NAME} or file:/path");
    else if (grant->token && !server_token_check(grant->token, &err))
        fr_diagnostics_add(diagnostics, token, "server.tokens: %s", err.message);
    else if (grant->certificate && !grant->certificate[0])
        fr_diagnostics_add(diagnostics, yaml, "server.tokens: certificate is empty; name a DNS, URI or CN of the client's");
}

static void read_grant(struct fr_yaml *yaml, struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    struct server_grant *grant = &config->grants[config->grant_count];

    if (yaml->kind != FR_YAML_MAP) {
        fr_diagnostics_add(diagnostics, yaml,
                           "server.tokens: each is a map, as in { name: ranker, token: ${RANKER_TOKEN}, groups: [read] }");
        return;
    }
    *grant = (struct server_grant){0};
    fr_yaml_text(yaml, "name", &grant->name, diagnostics);
    fr_yaml_text(yaml, "token", &grant->token, diagnostics);
    if (grant->token)
        grant->token_file = fr_yaml_get(yaml, "token")->file;
    fr_yaml_text(yaml, "certificate", &grant->certificate, diagnostics);
    grant->groups = read_groups(yaml, diagnostics);
    fr_yaml_finish(yaml, "server.tokens", NULL, 0, diagnostics);
    if (!grant->name || !grant->name[0] || strlen(grant->name) > 100)
        fr_diagnostics_add(diagnostics, yaml, "server.tokens: name is missing or longer than 100 bytes; say whose it is");
    if (grant->certificate && !config->tls.client_ca)
        fr_diagnostics_add(
            diagnostics, yaml,
            "server.tokens: certificate is nothing without server.tls.client_ca, which makes clients show theirs");
    check_token(yaml, grant, diagnostics);
    for (int i = 0; i < config->grant_count && grant->token; i++)
        if (config->grants[i].token && strcmp(config->grants[i].token, grant->token) == 0)
            fr_diagnostics_add(diagnostics, yaml, "server.tokens: the token of '%s' again; give each one of its own",
                               config->grants[i].name ? config->grants[i].name : "");
    config->grant_count++;
}

static void read_tokens(struct fr_yaml *server, struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *tokens = fr_yaml_get(server, "tokens");

    if (!tokens)
        return;
    if (tokens->kind != FR_YAML_LIST || tokens->count < 1 || tokens->count > SERVER_GRANTS_MAX) {
        fr_diagnostics_add(
            diagnostics, tokens,
            "server.tokens: write a list of 1 to %d, as in [ { name: ranker, token: ${RANKER_TOKEN}, groups: [read] } ]",
            SERVER_GRANTS_MAX);
        return;
    }
    for (int i = 0; i < tokens->count; i++)
        read_grant(tokens->values[i], config, diagnostics);
}

static void read_hosts(struct fr_yaml *server, struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *hosts = fr_yaml_get(server, "hosts");

    if (!hosts)
        return;
    if (hosts->kind != FR_YAML_LIST || hosts->count > PIPELINE_HOSTS_MAX) {
        fr_diagnostics_add(diagnostics, hosts,
                           "server.hosts: write a list of at most %d names, as in [freshet.example.com], without ports",
                           PIPELINE_HOSTS_MAX);
        return;
    }
    for (int i = 0; i < hosts->count; i++) {
        struct fr_yaml *host = hosts->values[i];

        if (host->kind == FR_YAML_SCALAR && host->text.length > 0 && !memchr(host->text.bytes, ':', host->text.length))
            config->hosts[config->host_count++] = host->text.bytes;
        else
            fr_diagnostics_add(diagnostics, host, "server.hosts: a name is wanted, without a port, as in freshet.example.com");
    }
}

void pipeline_config__server(struct fr_yaml *root, struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    static const char *const plaintexts[] = {"loopback", "anywhere"};
    struct fr_yaml *server = fr_yaml_get(root, "server");
    int plaintext = 0;
    int64_t loops = 2;

    fr_yaml_text(server, "listen", &config->listen, diagnostics);
    fr_yaml_text(server, "advertised", &config->advertised, diagnostics);
    fr_yaml_bool(server, "stale_reads", &config->are_stale_reads, diagnostics);
    fr_yaml_text(server, "operations", &config->operations, diagnostics);
    fr_yaml_choice(server, "plaintext", plaintexts, 2, &plaintext, diagnostics);
    fr_yaml_int(server, "loops", 1, 256, &loops, diagnostics);
    fr_yaml_span(server, "ready_lag", 1, INT64_C(86400000), &config->ready_lag_ms, diagnostics);
    read_limits(server, config, diagnostics);
    read_tls(server, config, diagnostics);
    read_tokens(server, config, diagnostics);
    read_hosts(server, config, diagnostics);
    fr_yaml_finish(server, "server", NULL, 0, diagnostics);
    check_address(server, "listen", config->listen, diagnostics);
    check_address(server, "operations", config->operations, diagnostics);
    if (strlen(config->advertised) > 250 || (config->advertised[0] && !strrchr(config->advertised, ':')))
        fr_diagnostics_add(diagnostics, fr_yaml_get(server, "advertised"),
                           "server.advertised: '%.80s' is no HOST:PORT of at most 250 bytes", config->advertised);
    if (!fr_yaml_get(server, "tls") && plaintext == 0) {
        check_plaintext(server, "listen", config->listen, diagnostics);
        check_plaintext(server, "operations", config->operations, diagnostics);
    }
    config->loops = (int)loops;
}
