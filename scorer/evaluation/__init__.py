"""What scores are worth: scores, labels and costs in, figures out. Pure arithmetic on columns; nothing is read here.

`findings` has the nouns, which are also the JSON twin of the report. `scored` holds decided events as columns, `span`
says which days they lie in, `effect` counts what bands do with them, `shift` what changed from one side to another,
`curves` and `calibration` judge the scores, `fit` chooses bands, with `resample` to say how sure that is, and `carry`
takes bands over to another model.
"""
