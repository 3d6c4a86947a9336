// Asks a URL with Go's standard client: the token comes from the environment.
package main

import (
	"io"
	"net/http"
	"os"
)

func main() {
	request, _ := http.NewRequest("GET", os.Args[1], nil)
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TICKETS_TOKEN"))
	answer, err := http.DefaultClient.Do(request)
	if err != nil || answer.StatusCode != 200 {
		panic(err)
	}
	io.Copy(os.Stdout, answer.Body)
}
