// How the search ranks what it found: the numbers are those of Sphinx, but guides come before what they lead to.
"use strict";
var Scorer = {
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
  score: ([page, , , , score, , kind]) => {
    if (kind === "object") return score;
    if (/^api\/results\/|^(changelog|contributing)$|^api\/(leaderboard|robustness|examples)$/.test(page)) return score - 4;
    return /^api\//.test(page) ? score : score + 3;
  },
};
