package org.tfsent.sample

/** How a label is chosen, as decision.json says. The temperature in that file is in the weights already. */
class Decision(private val threshold: Double?) {
    /**
     * The class of a text. Of two classes it is the second where that one's probability is greater than the threshold.
     * Without a threshold, and of other numbers of classes, it is the most probable one, of equals the first.
     */
    fun choose(probabilities: FloatArray): Int {
        if (threshold != null && probabilities.size == 2) return if (probabilities[1].toDouble() > threshold) 1 else 0
        var best = 0
        for (i in probabilities.indices) if (probabilities[i] > probabilities[best]) best = i
        return best
    }
}
