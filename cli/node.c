/*
 * Which node a command asks, how it gets there, and what it shows there.
 */
#include "internal.h"

#include <freshet/text.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *set_or(const char *given, const char *variable, const char *otherwise)
{
    const char *set = getenv(variable);

    if (given)
        return given;
    return set && *set ? set : otherwise;
}

void cli_node__default(struct cli_node *node)
{
    node->api = set_or(node->api, "FRESHET_API", "127.0.0.1:7070");
    node->tls_ca = set_or(node->tls_ca, "FRESHET_TLS_CA", NULL);
    node->tls_certificate = set_or(node->tls_certificate, "FRESHET_TLS_CERT", NULL);
    node->tls_key = set_or(node->tls_key, "FRESHET_TLS_KEY", NULL);
    if (!node->token_file)
        node->token = set_or(NULL, "FRESHET_TOKEN", NULL);
    if (!node->token)
        node->token_file = set_or(node->token_file, "FRESHET_TOKEN_FILE", NULL);
}

static bool read_token(const char *path, char token[CLI_TOKEN_BYTES], struct fr_err *err)
{
    FILE *file = fopen(path, "rbe");
    struct stat found;
    size_t length;

    if (!file)
        return fr_fail(err, FR_BAD_CONFIG, "cannot open the token file '%s': %s", path, strerror(errno));
    if (fstat(fileno(file), &found) != 0 || found.st_mode & (S_IRWXG | S_IRWXO)) {
        fclose(file);
        return fr_fail(err, FR_BAD_CONFIG, "the token file '%s' can be read or written by others; chmod 600 it", path);
    }
    length = fread(token, 1, CLI_TOKEN_BYTES - 1, file);
    fclose(file);
    while (length > 0 && (token[length - 1] == '\n' || token[length - 1] == '\r'))
        length--;
    token[length] = '\0';
    return true;
}

/* What would end the header field or begin another is no part of a token. */
static bool is_sendable(const char *token)
{
    for (; *token; token++)
        if (*token <= ' ' || *token >= 0x7f)
            return false;
    return true;
}

bool cli_node__token(const struct cli_node *node, char token[CLI_TOKEN_BYTES], struct fr_err *err)
{
    token[0] = '\0';
    if (node->token_file && !read_token(node->token_file, token, err))
        return false;
    if (!node->token_file && node->token) {
        if (strlen(node->token) >= CLI_TOKEN_BYTES)
            return fr_fail(err, FR_BAD_CONFIG, "FRESHET_TOKEN is longer than a token can be");
        strcpy(token, node->token);
    }
    if (!is_sendable(token))
        return fr_fail(err, FR_BAD_CONFIG, "the token has spaces or other bytes that no token has; is it one line?");
    return true;
}
