// For LD_PRELOAD: the wall clock is CLOCKSHIFT seconds ahead, and timers that are set by it come as much earlier.
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { DESCRIPTORS = 4096 };

static long shift;
static char is_by_wall_clock[DESCRIPTORS];

__attribute__((constructor)) static void read_shift(void) {
  const char *text = getenv("CLOCKSHIFT");
  shift = text ? atol(text) : 0;
}

static int is_wall_clock(clockid_t clock) {
  return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_REALTIME_ALARM;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && is_wall_clock(clock)) now->tv_sec += shift;
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &precise);
  *now = (struct timeval){precise.tv_sec, precise.tv_nsec / 1000};
  return 0;
}

time_t time(time_t *now) {
  struct timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  if (now) *now = precise.tv_sec;
  return precise.tv_sec;
}

int timerfd_create(int clock, int flags) {
  int descriptor = syscall(SYS_timerfd_create, clock, flags);
  if (descriptor >= 0 && descriptor < DESCRIPTORS) is_by_wall_clock[descriptor] = is_wall_clock(clock);
  return descriptor;
}

int timerfd_settime(int descriptor, int flags, const struct itimerspec *next, struct itimerspec *before) {
  struct itimerspec shifted = *next;
  int by_wall_clock = descriptor >= 0 && descriptor < DESCRIPTORS && is_by_wall_clock[descriptor];
  // A moment that never comes stays one.
  if (by_wall_clock && (flags & TFD_TIMER_ABSTIME) && shifted.it_value.tv_sec > shift && shifted.it_value.tv_sec < 1LL << 40)
    shifted.it_value.tv_sec -= shift;
  return syscall(SYS_timerfd_settime, descriptor, flags, &shifted, before);
}
