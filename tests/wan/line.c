/* A line between two network interfaces: so many bits a second each way, so much later, and no more than a tenth of a
 * second's worth waits for its turn. Kernels do the same with netem and tbf, where they have them.
 *
 *   line INTERFACE INTERFACE DELAY_MS RATE_MBIT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#define FRAMES 16384          /* under way in one direction; a power of two */
#define FRAME_BYTES 2048
#define SECOND 1000000000ull

struct frame { uint64_t due; ssize_t bytes; char content[FRAME_BYTES]; };
struct way { int from, to; uint64_t free_at; unsigned first, next; struct frame frames[FRAMES]; };

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + time.tv_nsec;
}

static int open_interface(const char *name)
{
    int bytes = 16 << 20, yes = 1, interface = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
    struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
    address.sll_ifindex = if_nametoindex(name);
    setsockopt(interface, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    setsockopt(interface, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
    setsockopt(interface, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes);
    if (interface < 0 || bind(interface, (struct sockaddr *)&address, sizeof address) != 0) {
        perror(name);
        exit(1);
    }
    return interface;
}

/* Takes what has come; what finds no room in the queue is lost. */
static void take(struct way *way, uint64_t delay, double rate)
{
    for (;;) {
        struct frame *frame = &way->frames[way->next % FRAMES];
        if (way->next - way->first == FRAMES)
            return;
        frame->bytes = recv(way->from, frame->content, FRAME_BYTES, MSG_TRUNC);
        if (frame->bytes < 0)
            return;
        uint64_t at = now(), begins = way->free_at > at ? way->free_at : at;
        if (frame->bytes > FRAME_BYTES || begins - at > SECOND / 10)
            continue;
        way->free_at = begins + (uint64_t)(frame->bytes * 8 / rate * SECOND);
        frame->due = way->free_at + delay;
        way->next++;
    }
}

/* Hands on what is due, and says how long the next one has to wait. */
static uint64_t give(struct way *way)
{
    for (; way->first != way->next; way->first++) {
        struct frame *frame = &way->frames[way->first % FRAMES];
        uint64_t at = now();
        if (frame->due > at)
            return frame->due - at;
        if (send(way->to, frame->content, frame->bytes, 0) < 0)
            return SECOND / 1000;
    }
    return SECOND;
}

int main(int count, char **words)
{
    static struct way ways[2];
    if (count != 5)
        return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    uint64_t delay = (uint64_t)(atof(words[3]) * 1e6);
    double rate = atof(words[4]) * 1e6;
    ways[0].from = ways[1].to = open_interface(words[1]);
    ways[1].from = ways[0].to = open_interface(words[2]);
    struct pollfd waits[2] = { { .fd = ways[0].from, .events = POLLIN }, { .fd = ways[1].from, .events = POLLIN } };
    for (;;) {
        uint64_t wait = SECOND;
        for (int way = 0; way < 2; way++) {
            take(&ways[way], delay, rate);
            uint64_t until = give(&ways[way]);
            wait = until < wait ? until : wait;
        }
        struct timespec time = { wait / SECOND, wait % SECOND };
        ppoll(waits, 2, &time, NULL);
    }
}
