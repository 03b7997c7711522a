"""A wall clock that can be set for some processes alone: a few lines of C, loaded before the C library (LD_PRELOAD).

They add an offset, read from a mapped file, to CLOCK_REALTIME; CLOCK_MONOTONIC is left alone. Waits until a time of the
wall clock are handed to the kernel in its own time; one that is under way when the clock is stepped ends as it would
have without the step.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile long long *offset_s;

__attribute__((constructor)) static void map_offset(void) {
    const char *path = getenv("ROBOT_RL_WALL_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *memory = fd < 0 ? MAP_FAILED : mmap(0, sizeof *offset_s, PROT_READ, MAP_SHARED, fd, 0);
    offset_s = memory == MAP_FAILED ? 0 : memory;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && offset_s && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *offset_s;
    return failed;
}

/* A time of CLOCK_MONOTONIC counts from the boot, and is left alone. */
static struct timespec true_time(const struct timespec *until) {
    struct timespec t = *until;
    if (offset_s && t.tv_sec > 500000000) t.tv_sec -= *offset_s;
    return t;
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real) real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    struct timespec t = true_time(until);
    return real(cond, mutex, &t);
}

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *until) {
    static int (*real)(pthread_mutex_t *, const struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "pthread_mutex_timedlock");
    struct timespec t = true_time(until);
    return real(mutex, &t);
}

int sem_timedwait(sem_t *semaphore, const struct timespec *until) {
    static int (*real)(sem_t *, const struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "sem_timedwait");
    struct timespec t = true_time(until);
    return real(semaphore, &t);
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec t;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &t)) return -1;
    now->tv_sec = t.tv_sec;
    now->tv_usec = t.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}
"""


def missing() -> str | None:
    """Returns why there can be no such clock here, None where there can."""
    return None if shutil.which("cc") else "no C compiler (cc) to set the wall clock of single processes with"


class WallClock:
    """The offset of the wall clock of all processes started with `environment`."""

    def __init__(self, folder: Path) -> None:
        """Compiles into the folder. Raises RuntimeError where that fails."""
        source, self._library, self._offset = folder / "wall_clock.c", folder / "wall_clock.so", folder / "wall_clock"
        source.write_text(_SOURCE)
        self._offset.write_bytes(bytes(8))
        words = ["cc", "-O1", "-shared", "-fPIC", "-o", str(self._library), str(source), "-ldl"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"cc failed: {' '.join(done.stderr.split())}")

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the processes that shall have this clock."""
        return {"LD_PRELOAD": str(self._library), "ROBOT_RL_WALL_CLOCK": str(self._offset)}

    def set(self, offset_s: int) -> None:
        """Steps the clock to so far ahead of the true one [s]."""
        with self._offset.open("r+b") as file:
            file.write(struct.pack("q", offset_s))
