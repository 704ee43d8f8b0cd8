package web

import (
	"fmt"
	"math"
	"strings"
)

// An rgb is a colour.
type rgb [3]int

func (c rgb) String() string { return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]) }

// The backgrounds of logs. style.css has the same.
var (
	lightGround = rgb{255, 255, 255}
	darkGround  = rgb{16, 19, 24}
)

var cubeSteps = [6]int{0, 95, 135, 175, 215, 255}

// palette is a colour of xterm's 256, from 16 on: those before are style.css's.
func palette(n int) rgb {
	if n >= 232 {
		grey := 8 + 10*(n-232)
		return rgb{grey, grey, grey}
	}
	n -= 16
	return rgb{cubeSteps[n/36], cubeSteps[n/6%6], cubeSteps[n%6]}
}

// nearest is the colour of the palette that comes nearest to another: one of the cube or one of the greys.
func nearest(r, g, b int) color {
	want := rgb{min(r, 255), min(g, 255), min(b, 255)}
	cube := 16
	for i, weight := range []int{36, 6, 1} {
		step := 0
		for k, value := range cubeSteps {
			if square(value-want[i]) < square(cubeSteps[step]-want[i]) {
				step = k
			}
		}
		cube += weight * step
	}
	mean := (want[0] + want[1] + want[2]) / 3
	grey := 232 + min(max((mean-8+5)/10, 0), 23)
	if distance(palette(grey), want) < distance(palette(cube), want) {
		cube = grey
	}
	return color(cube + 1)
}

func distance(a, b rgb) int { return square(a[0]-b[0]) + square(a[1]-b[1]) + square(a[2]-b[2]) }

func square(n int) int { return n * n }

// luminance and contrast are those of WCAG 2.
func (c rgb) luminance() float64 {
	linear := func(n int) float64 {
		v := float64(n) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

func contrast(a, b rgb) float64 {
	la, lb := a.luminance(), b.luminance()
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

// readable moves a colour away from the ground it stands on, as far as it takes to read it.
func (c rgb) readable(on rgb) rgb {
	towards := 255
	if on.luminance() > 0.5 {
		towards = 0
	}
	start := c
	for i := 0; contrast(c, on) < 4.5 && i < 20; i++ {
		for k := range c {
			c[k] = start[k] + (towards-start[k])*(i+1)/20
		}
	}
	return c
}

// paletteCSS is the part of the style sheet for the colours of the palette. A text on a background of its own is black or
// white, whichever can be read.
func paletteCSS() string {
	var css strings.Builder
	for n := 16; n < 256; n++ {
		c := palette(n)
		fmt.Fprintf(&css, ".term-fgx%d{color:%v;color:light-dark(%[2]v,%v)}\n", n, c.readable(lightGround), c.readable(darkGround))
	}
	for n := 16; n < 256; n++ {
		c, text := palette(n), rgb{}
		if contrast(c, text) < contrast(c, rgb{255, 255, 255}) {
			text = rgb{255, 255, 255}
		}
		fmt.Fprintf(&css, ".term-bgx%d{background:%v;color:%v}\n", n, c, text)
	}
	return css.String()
}
