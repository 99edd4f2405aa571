/* The configuration's keys as freshet.yaml(5) and as the reference part of docs/configuration.md. */
#include "manual.h"

#include <freshet/pipeline.h>

#include <string.h>

/* ---- freshet.yaml(5) ---- */

/* No .TP, whose tag waits in a diversion: groff 1.22 may end the page in it, by where its lines fall. */
static void roff_row(FILE *out, const struct fr_settings *section, const struct fr_setting *row)
{
    fputs(".IP \"\\fB", out);
    cli_manual__roff(out, section->path);
    fputc('.', out);
    cli_manual__roff(out, row->key);
    fputs("\\fR\" 7\n", out);
    cli_manual__roff(out, row->meaning);
    fputs(".\n.br\n", out);
    cli_manual__roff(out, row->range);
    if (!row->fallback) {
        fputs("; \\fBrequired\\fR", out);
    } else if (*row->fallback) {
        fputs("; default: \\fI", out);
        cli_manual__roff(out, row->fallback);
        fputs("\\fR", out);
    }
    fputc('\n', out);
}

void cli_manual__yaml(FILE *out)
{
    const struct fr_settings *section;

    fputs(
        ".\\\" -*- coding: UTF-8 -*- made by freshet manual\n.TH FRESHET.YAML 5 \"\" \"Freshet " FRESHET_VERSION
        "\" \"File Formats\"\n.SH NAME\nfreshet.yaml \\- configuration of a Freshet node\n.SH DESCRIPTION\n"
        "One YAML file, named by \\fBfreshet run \\-\\-config\\fR. Every key has a default but entities and features, and "
        "what\n"
        "is called required below. ${NAME} takes an environment variable, a value file:/path the content of a file that only\n"
        "its owner can read. Spans are a number and ms, s, m, h or d; sizes a number and B, KiB, MiB, GiB or TiB.\n"
        "\\fBfreshet check \\-\\-config\\fR tells every mistake as file:line:column. NAME stands for names of your choice, [] "
        "for\n"
        "each entry of a list.\n",
        out);
    for (int i = 0; (section = pipeline_settings(i)); i++) {
        fputs(".SH ", out);
        cli_manual__roff(out, section->path);
        if (section->aggregates) {
            fputs(", aggregate ", out);
            cli_manual__roff(out, section->aggregates);
        }
        fputc('\n', out);
        cli_manual__roff(out, section->lead);
        fputs(*section->lead ? "\n" : "", out);
        for (int row = 0; row < section->count; row++)
            roff_row(out, section, &section->rows[row]);
    }
    fputs(".SH EXAMPLE\n.nf\nentities:\n  item: { key: [item_id] }\nfeatures:\n"
          "  item_watches: { entity: item, actions: [watch], aggregate: count, windows: [5m, 1h] }\n.fi\n"
          ".SH SEE ALSO\n.BR freshet (1)\n",
          out);
}

/* ---- docs/configuration.md ---- */

/* In a cell of a table a bar would end it. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++)
        fprintf(out, *text == '|' ? "\\%c" : "%c", *text);
}

static void print_row(FILE *out, const struct fr_settings *section, const struct fr_setting *row)
{
    fprintf(out, "| `%s.%s` | ", section->path, row->key);
    if (row->fallback)
        print_cell(out, row->fallback);
    else
        fputs("**required**", out);
    fputs(" | ", out);
    print_cell(out, row->range);
    fputs(" | ", out);
    print_cell(out, row->meaning);
    fputs(" |\n", out);
}

void cli_manual__configuration(FILE *out)
{
    const struct fr_settings *section;

    for (int i = 0; (section = pipeline_settings(i)); i++) {
        fprintf(out, "%s### `%s`", i > 0 ? "\n" : "", section->path);
        if (section->aggregates)
            fprintf(out, ", aggregate %s", section->aggregates);
        fprintf(out, "\n\n%s%s| key | default | may be | |\n|---|---|---|---|\n", section->lead, *section->lead ? "\n\n" : "");
        for (int row = 0; row < section->count; row++)
            print_row(out, section, &section->rows[row]);
    }
}
