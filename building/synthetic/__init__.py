"""Synthetic faces: real skin at low frequency, the detail that it lacks on a physical footing.

Data flow: `parameters` (what a face is like) -> `canvas` (what each texel stands for) -> `relief`
(pores, furrows, wrinkles: heights) and `pigment` (melanin, haemoglobin, freckles) and `hairs`
(stubble, brows, scalp) -> `face` (albedo, height and specular of one face) -> `faces` (the
embedded database).
"""
