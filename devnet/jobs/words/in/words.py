"""Which words does a text use most?  Reads each .txt file in /in, prints the ten commonest, writes all to /out."""

import os


def words_of(line: str) -> list[str]:
    """The words of a line in lower case; an apostrophe inside a word belongs to it."""
    words, word = [], ""
    for letter in line.lower() + " ":
        if "a" <= letter <= "z" or (letter == "'" and word):
            word += letter
        elif word:
            words.append(word.rstrip("'"))
            word = ""
    return words


counts: dict[str, int] = {}
for name in sorted(os.listdir("/in")):
    if name.endswith(".txt"):
        with open("/in/" + name) as text:
            for line in text:
                for word in words_of(line):
                    counts[word] = counts.get(word, 0) + 1

ranking = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
print(f"{sum(counts.values())} words, {len(counts)} different")
for word, count in ranking[:10]:
    print(f"{count:6d}  {word}")
with open("/out/counts.tsv", "w") as out:
    for word, count in ranking:
        out.write(f"{word}\t{count}\n")
