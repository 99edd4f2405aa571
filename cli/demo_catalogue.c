/*
 * The built-in configuration of `freshet demo`, demo.yaml as it lies beside this file.
 */
#include "internal.h"

__asm__(".pushsection .rodata\n"
        "cli_demo_yaml:\n"
        ".incbin \"" FRESHET_DEMO_YAML "\"\n"
        ".byte 0\n"
        ".popsection\n");

extern const char cli_demo_yaml[];

const char *cli_demo__catalogue(void)
{
    return cli_demo_yaml;
}
