/* What the load clients share: how to connect, and what they ask. */
#include "draw.h"
#include "load.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ITEMS = 100000 };

int load_connect(const char *address)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char host[256];
    const char *colon = strrchr(address, ':');
    struct addrinfo *found = NULL;
    int fd = -1, on = 1;

    if (!colon || (size_t)(colon - address) >= sizeof host)
        return -1;
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return -1;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* freshet.v1.GetFeaturesRequest: user_id, item_ids, feature_set. */
void load_request(uint64_t *draw, int users, int item_count, const char *feature_set, struct fr_buffer *message)
{
    struct fr_buffer items;

    fr_buffer_init(&items);
    for (int i = 0; i < item_count; i++)
        fr_buffer_append_varint(&items, draw_id(DRAW_ITEM, draw_next(draw) % ITEMS));
    fr_buffer_clear(message);
    fr_buffer_append_byte(message, 1 << 3);
    fr_buffer_append_varint(message, draw_id(DRAW_USER, draw_next(draw) % (uint64_t)users));
    fr_buffer_append_byte(message, 2 << 3 | 2);
    fr_buffer_append_varint(message, items.length);
    fr_buffer_append(message, items.bytes, items.length);
    fr_buffer_append_byte(message, 4 << 3 | 2);
    fr_buffer_append_varint(message, strlen(feature_set));
    fr_buffer_append_text(message, feature_set);
    fr_buffer_fini(&items);
}
