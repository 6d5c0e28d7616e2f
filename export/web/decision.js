// From the probabilities of a text's windows to its label, as decision.json says. The temperature in that file is in
// the weights already.

// Returns the class of a text: its place among the labels.
// decision: the object in decision.json, or null for a model of an earlier version, which has no such file.
// Of two classes it is the second where that one's probability is greater than the threshold. Without a threshold, and
// of other numbers of classes, it is the most probable one, of equals the first.
export function choose(probabilities, decision) {
  const threshold = decision?.threshold ?? null;
  if (threshold !== null && probabilities.length === 2) return probabilities[1] > threshold ? 1 : 0;
  return probabilities.indexOf(Math.max(...probabilities));
}

// Returns the probabilities of a text from those of its windows: in float32, as the other runtimes add, for a label
// must not hang on a digit that only this one has.
export function mean(answers) {
  const sum = new Float32Array(answers[0].length);
  for (const one of answers) one.forEach((share, i) => (sum[i] += Math.fround(share / answers.length)));
  return Array.from(sum);
}
