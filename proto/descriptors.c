/*
 * The serialized descriptors of all files, put into the program when it is built, for gRPC reflection.
 */
#include "internal.h"

__asm__(".pushsection .rodata\n"
        "proto__descriptors:\n"
        ".incbin \"" FRESHET_DESCRIPTORS "\"\n"
        "proto__descriptors_end:\n"
        ".byte 0\n"
        ".popsection\n");

extern const uint8_t proto__descriptors[];
extern const uint8_t proto__descriptors_end[];

struct fr_slice proto_descriptor_set(void)
{
    return fr_slice(proto__descriptors, (size_t)(proto__descriptors_end - proto__descriptors));
}
