// How many primes are below a limit?  The sieve of Eratosthenes over odd numbers, one bit each, in segments of 32 KiB.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEGMENT = 1 << 18 };  // odd numbers per segment: 32 KiB of bits stay in the first-level cache

static uint8_t bits[SEGMENT / 8];

static uint32_t *small_primes(uint32_t limit, uint32_t *count) {
    uint8_t *composite = calloc(limit + 1, 1);
    uint32_t *primes = malloc((limit + 1) * sizeof *primes);
    *count = 0;
    if (!composite || !primes) exit(1);
    for (uint32_t i = 3; i <= limit; i += 2) {
        if (composite[i]) continue;
        primes[(*count)++] = i;
        for (uint64_t k = (uint64_t)i * i; k <= limit; k += 2 * i) composite[k] = 1;
    }
    free(composite);
    return primes;
}

int main(int argc, char **argv) {
    uint64_t limit = 1000000000;
    if (argc == 3 && !strcmp(argv[1], "--limit")) limit = strtoull(argv[2], 0, 10);
    else if (argc != 1) {
        fprintf(stderr, "sieve: usage: sieve [--limit N]\n");
        return 2;
    }
    if (limit < 3 || limit > 10000000000000) {
        fprintf(stderr, "sieve: --limit must lie between 3 and 10^13\n");
        return 2;
    }
    uint32_t root = 1, count;
    while ((uint64_t)(root + 1) * (root + 1) <= limit) root++;
    uint32_t *primes = small_primes(root, &count);
    uint64_t found = 1, last = 2, checksum = 2;  // 2 is the only even one
    uint64_t *next = malloc((count + 1) * sizeof *next);
    if (!next) return 1;
    for (uint32_t i = 0; i < count; i++) next[i] = (uint64_t)primes[i] * primes[i] / 2;
    uint64_t odds = limit / 2;  // index i stands for 2i + 1, below the limit
    for (uint64_t low = 0; low < odds; low += SEGMENT) {
        uint64_t high = low + SEGMENT < odds ? low + SEGMENT : odds;
        memset(bits, 0, sizeof bits);
        for (uint32_t i = 0; i < count && next[i] < high; i++) {
            uint32_t step = primes[i], k = (uint32_t)(next[i] - low), end = (uint32_t)(high - low);
            for (; k < end; k += step) bits[k >> 3] |= 1 << (k & 7);
            next[i] = low + k;
        }
        for (uint32_t k = low ? 0 : 1; k < high - low; k++)
            if (!(bits[k >> 3] >> (k & 7) & 1)) found++, last = 2 * (low + k) + 1, checksum = checksum * 31 + last;
    }
    printf("primes below %llu: %llu\nlargest %llu\nchecksum %016llx\n", (unsigned long long)limit,
           (unsigned long long)found, (unsigned long long)last, (unsigned long long)checksum);
    return 0;
}
