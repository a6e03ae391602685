"""Thresholds of the checks, each with the measurements that it separates.

"Healthy" are about thirty trainings on the 8x8 digits (2 to 10 dimensions of z, five divergences, three seeds of each
of the smaller ones); "planted" are trainings in which one rate, weight or length was set to a bad value on purpose.
"""

MIN_ROWS = 30  # codes or reconstructions; with fewer, all measures are mostly noise
MIN_D_RANGE = 0.02  # range of D(real) over all epochs: planted 0.001 to 0.004, healthy at least 0.1
CERTAIN = 0.85  # D(real), and 1 - D(fake), over the last fifth: planted 0.87 to 0.98, healthy at most 0.6
CERTAIN_LEAST_SQUARES = 0.69  # least-squares scores have targets +1 and -1, and sigmoid(1) is 0.73
MIN_STEPS = 100  # a discriminator is not judged before
MIN_EXPLAINED = 0.1  # explained fraction of the variance of rows: planted at most 0.01, healthy at least 0.35
SAME = 0.05  # spread of the reconstructions of images divided by that of the images: planted 0, healthy at least 0.5
ALIKE = 0.02  # root mean square distance of images from their mean, of 1: planted 0.004, healthy at least 0.1
REDUCED = 4.0  # the longer side in a file divided by that of a row: photographs of 100 pixels suffer little from 32
PHOTO = 32  # pixels a side from which images may be photos, of which a pretrained encoder sees more
MAX_ADAM_RATE = 0.05  # above this learning rate, the first steps of Adam deactivate hidden units permanently
MAX_SHIFT = 0.5  # of the mean of a dimension, in standard deviations of the prior: healthy at most 0.26
MAX_SCALE = 1.5  # standard deviation of a dimension divided by that of the prior, or its inverse: healthy 0.8 to 1.25
MAX_DISTANCE = 0.2  # Kolmogorov-Smirnov distance of a dimension: healthy at most 0.13
FAR_DISTANCE = 0.4  # from this distance on it is a problem: planted 0.5 to 0.95
MAX_FOREST_AUC = 0.9  # area under the ROC curve of a forest: healthy at most 0.88, in 10 dimensions
THIN = 4.0  # density of the prior divided by that of the codes in a neighbourhood: larger than by chance, and harmful
NEIGHBOURS = 10  # rows in a neighbourhood
HOLES = 0.2  # fraction of the prior with codes that thin: healthy at most 0.07 (0.16 in 10 dimensions), planted 0.24
LARGE_HOLES = 0.5  # from this fraction on it is a problem
MAX_HOLE_DIMS = 10  # with more dimensions, all nearest neighbours are about equally far away
DECIDED = 0.6  # mean of the largest probability of a row: healthy at least 0.8, planted 0.4
MAX_FREQUENCY_RATIO = 2.0  # predicted frequency of a class divided by its true frequency, or the inverse
MAX_LEAK = 0.6  # fraction of the way from chance to perfect prediction: 2-D styles 0.35 to 0.5 where y is good
MEMORISED = 0.1  # cross entropy on labelled rows, in nats: a probability of 90 %
HIGH_ERROR = 10.0  # percent of held-out rows, while the labelled ones are memorised
TURNED = 1.25  # held-out cross entropy divided by its lowest value, from which on it has turned
MIN_GAIN = 0.02  # relative decrease over the last fifth: healthy at most 0.019, cut short at least 0.027
MIN_GAIN_OF_FALL = 0.03  # decrease relative to the total one: a loss near 0 decreases for ever, without an effect
N_ERRORS = 4.0  # standard errors that a difference must exceed
SCHEDULE_ENDED = 0.05  # factor of the learning rates; below it a curve is flat because of the schedule
