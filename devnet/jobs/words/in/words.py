# Which words does a text use most?  Reads every .txt file in /in, prints the ten commonest words, writes all counts.
import os


def words_of(line):
    word = ""
    for letter in line.lower():
        if "a" <= letter <= "z" or (letter == "'" and word):
            word += letter
        elif word:
            yield word.rstrip("'")
            word = ""
    if word:
        yield word.rstrip("'")


counts = {}
for name in sorted(os.listdir("/in")):
    if name.endswith(".txt"):
        with open("/in/" + name) as text:
            for line in text:
                for word in words_of(line):
                    counts[word] = counts.get(word, 0) + 1

ranking = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
print(sum(counts.values()), "words,", len(counts), "different")
for word, count in ranking[:10]:
    print("%6d  %s" % (count, word))
with open("/out/counts.tsv", "w") as out:
    for word, count in ranking:
        out.write("%s\t%d\n" % (word, count))
