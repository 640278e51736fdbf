// How large is pi?  Monte Carlo: the share of random points of the unit square that fall inside the quarter circle.
//
// Integers only, so every machine gives the same digits. The generator is xorshift64* (Vigna 2016); its seed comes from
// --seed, or else from random_get, which on the mesh follows from the job's seed.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t parse(const char *name, const char *text) {
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno || *end || !*text) {
        fprintf(stderr, "pi: %s takes a whole number, not \"%s\"\n", name, text);
        exit(2);
    }
    return value;
}

static void print_result(FILE *to, uint64_t samples, uint64_t inside, uint64_t seed) {
    uint64_t whole = 4 * inside / samples, rest = 4 * inside % samples, digits = 0;
    for (int i = 0; i < 8; i++) {
        rest *= 10;
        digits = digits * 10 + rest / samples;
        rest %= samples;
    }
    fprintf(to, "pi ~ %llu.%08llu\nsamples %llu\ninside  %llu\nseed    %llu\n", (unsigned long long)whole,
            (unsigned long long)digits, (unsigned long long)samples, (unsigned long long)inside, (unsigned long long)seed);
}

int main(int argc, char **argv) {
    uint64_t samples = 200000000, seed = 0;
    int seeded = 0;
    const char *path = "/out/pi.txt";
    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && !strcmp(argv[i], "--samples")) samples = parse(argv[i], argv[i + 1]), i++;
        else if (i + 1 < argc && !strcmp(argv[i], "--seed")) seed = parse(argv[i], argv[i + 1]), seeded = 1, i++;
        else if (i + 1 < argc && !strcmp(argv[i], "--out")) path = argv[++i];
        else {
            fprintf(stderr, "pi: unknown argument \"%s\"; usage: pi [--samples N] [--seed N] [--out FILE]\n", argv[i]);
            return 2;
        }
    }
    if (!samples || samples > 1000000000000) {
        fprintf(stderr, "pi: --samples must lie between 1 and 10^12\n");
        return 2;
    }
    if (!seeded && getentropy(&seed, sizeof seed)) {
        fprintf(stderr, "pi: no random numbers; give --seed\n");
        return 1;
    }
    uint64_t state = seed ? seed : 88172645463325252u, inside = 0;
    for (uint64_t i = 0; i < samples; i++) {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        uint64_t random = state * 2685821657736338717u;
        uint64_t x = random >> 33, y = random & 0x7fffffff;
        inside += x * x + y * y < (1ull << 62);
        if ((i + 1) % 50000000 == 0 && i + 1 < samples) {
            printf("%llu of %llu points\n", (unsigned long long)(i + 1), (unsigned long long)samples);
            fflush(stdout);
        }
    }
    print_result(stdout, samples, inside, seed);
    FILE *out = fopen(path, "w");
    if (!out) {
        fprintf(stderr, "pi: cannot write %s: %s\n", path, strerror(errno));
        return 1;
    }
    print_result(out, samples, inside, seed);
    return fclose(out) ? 1 : 0;
}
