"""How often does each letter occur in /in/text.txt?  Writes /out/tally.json in the order in which they were met."""

import json

counts: dict[str, int] = {}
with open("/in/text.txt") as text:
    for line in text:
        for letter in line.lower():
            if "a" <= letter <= "z":
                counts[letter] = counts.get(letter, 0) + 1

print(f"{sum(counts.values())} letters")
with open("/out/tally.json", "w") as out:
    json.dump({"letters": counts, "different": len(counts)}, out)
