"""What tells languages of one script apart: function words, the words people reason with, letters, and endings.

The lists were compiled for this reward: short closed-class words first, then connectives and the vocabulary of worked solutions,
because that is the text that is judged. Words of one letter are left out because they count as variables (see `words`).
Vietnamese words written in plain letters are left out too: they are so short that they occur in other languages.
A word with an elided article (`l'équation`) is recognised by its head, so heads are listed with their apostrophe.
"""

from __future__ import annotations

from collections.abc import Mapping

_LISTS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": """
            the of and to in is it that this for we be are was were with as on at by from or an not but have has had if then
            than so which what when where who whom whose why how there here they them their he she him her his you your our us
            my me its can could will would should may might must shall do does did done been being into onto over under about
            between because since while until after before again also only just very more most less least much many some any
            each every all both either neither no nor none such same other another one two three four five six seven eight nine
            ten first second third next last let's it's that's don't doesn't didn't isn't aren't can't won't we're we've we'll
            you're there's i'm i'll i've what's wasn't wouldn't he's she's they're let need know see say says said get gets got
            give gives given make makes made take takes find found check think try use used using look looks mean means now thus
            therefore hence however although though still yet maybe wait okay well right wrong true false answer question step
            steps number numbers sum total value equal equals equation solve solution result compute calculate evaluate simplify
            determine prove show problem suppose assume follows follow different correct remaining left out off up down these
            those per without within through during against above below upon like want wants start finally twice half times
            product word words sentence list sort count how's ones something anything nothing everything plus minus multiply
            multiplied multiplying divide divided dividing subtract subtracted subtracting add adds added adding remain remains
            percent men women boys girls people hour hours minute minutes day days week weeks month months year years mile miles
            feet foot inches pounds dollars cents money cost costs price bought sold buys sells spent spends gave red blue green
            white black pages books box boxes altogether together weighs went going work works earned earns ran run runs old new
            won big long tall rest part parts sides side area length width height pay paid pays ends end number's
        """,
        "fr": """
            total solution solutions correct sort le la les un une des du de et est en que qui dans pour pas sur au aux avec
            ce cette ces cet il elle on nous vous ils elles je tu me te se lui leur leurs mon ma mes ton ta tes son sa ses
            notre nos votre vos ne plus moins par mais ou où donc or ni car si comme quand dont même aussi très bien tout
            tous toute toutes sont sommes suis êtes était étaient sera être été avoir ai as ont avons avez avait avaient
            peut peuvent peux pouvons doit doivent devons faut fait faire faisons sans sous entre vers chez alors ensuite
            puis enfin ainsi cela ça ceci voici voilà parce après avant depuis pendant encore toujours jamais rien aucun
            aucune chaque plusieurs quel quelle quels quelles combien pourquoi comment deux trois quatre cinq sept huit neuf
            dix premier première deuxième autre autres réponse étape étapes nombre nombres somme valeur équation résoudre
            calculer calculons trouver trouvons vérifier vérifions obtient obtenons résultat égal égale non oui
            d'abord c'est c' d' j' l' m' n' qu' s' t' jusqu' lorsqu' puisqu' quelqu' soit soient savoir savons
            question problème supposons maintenant attends moitié fois produit mot mots phrase
        """,
        "de": """
            total problem produkt der die das den dem des ein eine einen einem einer eines und ist in im zu zum zur mit von
            vom für auf aus bei nach über unter vor hinter zwischen durch gegen ohne um an am als auch nicht kein keine
            keinen keiner ich du er sie es wir ihr mich dich sich uns euch mir dir ihm ihn ihnen mein dein sein seine seinen
            seiner ihre ihren ihrer unser unsere dass daß ob wenn weil denn aber oder sondern doch nur noch schon sehr so
            wie was wer wo wann warum welche welcher welches welchen sind war waren wird werden wurde wurden würde bin bist
            hat haben hatte hatten habe hätte kann können konnte muss müssen soll sollen will wollen darf dürfen mag dann
            also daher deshalb damit dadurch dabei hier dort da jetzt nun zuerst danach schließlich immer nie mehr weniger
            alle alles jede jeder jedes jeden diese dieser dieses diesen diesem man zwei drei vier fünf sechs sieben acht
            neun zehn erste ersten zweite beide gibt ergibt gilt folgt lösen lösung antwort frage schritt zahl zahlen summe
            wert gleichung ergebnis rechnen berechnen berechne bestimme gleich richtig falsch mal hälfte einfach wort wörter
            satz prüfen überprüfen erhalten bekommen nein ja vielleicht etwas nichts bis ab seit
        """,
        "es": """
            total el la los las un una unos unas de del al en que es son por para con sobre entre hasta desde hacia se
            su sus lo le les nos me te mi mis tu tus no ni si sí como más menos pero sino porque pues cuando donde dónde qué
            quién cuál cuáles cuánto cuántos cuánta cuántas cómo este esta estos estas ese esa esos esas esto eso aquello
            ser está están estar estamos era eran fue fueron hay ha han he hemos había haber tiene tienen tenemos tener
            puede pueden podemos poder debe deben debemos hacer hace hacemos hacen vamos ya también muy mucho muchos poco
            todo todos toda todas cada otro otra otros otras mismo misma así entonces luego después antes ahora primero
            segundo tercero finalmente siempre nunca nada algo aunque dos tres cuatro cinco seis siete ocho nueve diez
            respuesta paso pasos número números suma valor ecuación resolver calcular calculamos encontrar hallar obtenemos
            resultado igual pregunta problema verificar verificamos mitad veces tanto decir sea sean dado bien espera
            producto palabra palabras yo ella ellos ellas nosotros usted ustedes sabemos
        """,
        "pt": """
            total os as um uma uns umas de do da dos das no na nos nas em ao aos às que são por para com sem sobre entre até
            desde se seu sua seus suas lhe me te meu minha teu tua não nem sim como mais menos mas porque pois quando onde
            quem qual quais quanto quantos quantas este esta estes estas esse essa esses essas isto isso aquilo aquele
            aquela ser está estão estar estamos era eram foi foram há tem têm temos ter tinha pode podem podemos poder deve
            devem devemos fazer faz fazemos vamos já também muito muitos pouco tudo todo todos toda todas cada outro outra
            outros outras mesmo mesma assim então depois antes agora primeiro segundo finalmente sempre nunca nada algo
            embora portanto logo dois duas três quatro cinco sete oito nove dez resposta passo passos número números soma
            valor equação resolver calcular calculamos encontrar obtemos resultado igual pergunta problema verificar metade
            vezes pelo pela pelos pelas num numa deste desta disso nisso dele dela eles elas ele ela nós você vocês eu seja
            sejam dado bem espere produto palavra palavras sabemos ainda só
        """,
        "it": """
            il lo la gli le un uno una di del dello della dei degli delle da dal dalla dai in nel nella nei nelle con su sul
            sulla sui per tra fra che chi cui non né se sì ma anche come più meno perché poiché quando dove quale quali
            quanto quanti quanta quante cosa questo questa questi queste quello quella quelli quelle ciò sono sia siano
            essere era erano stato stata ha hanno ho abbiamo avere aveva può possono possiamo potere deve devono dobbiamo
            fare fa facciamo al allo alla ai agli alle si ci vi ne mi ti lui lei loro noi voi io mio mia suo sua suoi sue
            nostro nostra quindi allora poi dopo prima adesso ora infine sempre mai niente nulla tutto tutti tutta tutte
            ogni altro altra altri altre stesso stessa così già ancora molto molti poco due tre quattro cinque sei sette
            otto nove dieci risposta passo passi passaggio numero numeri somma valore equazione risolvere calcolare
            calcoliamo trovare troviamo otteniamo risultato uguale domanda problema verificare verifichiamo metà volte
            prodotto parola parole dell' dall' nell' sull' all' un' l' c' d' quest' quell' com' cos' dov' sappiamo dato bene
            aspetta
        """,
        "nl": """
            totaal product correct de het een en van in is op te dat die dit deze niet met voor aan er om ook als maar bij
            nog naar uit door over tot of dan wat wie waar wanneer waarom hoe welke zijn was waren wordt worden werd werden
            heeft hebben had hadden heb kan kunnen kon moet moeten zal zullen zou zouden wil willen mag mogen ik je jij hij
            zij ze we wij jullie hen hun hem haar mijn jouw ons onze geen geeft geven al alle alles elk elke andere zo dus
            daarom omdat want hier daar nu eerst daarna vervolgens uiteindelijk altijd nooit meer minder veel weinig zonder
            tussen onder tegen tijdens twee drie vier vijf zes zeven acht negen tien antwoord stap getal getallen som waarde
            vergelijking oplossen oplossing berekenen bereken resultaat gelijk vraag probleem controleren helft keer woord
            woorden vinden krijgen laten volgt juist fout misschien iets niets zelf toch
        """,
        "sv": """
            total problem sort och att det som en ett är av för på med den till inte om har de vi jag du han hon man så men var
            kan ska skall vill när från hur vad vem vilken vilket vilka där här eller då nu bara också än mycket många mer
            mindre alla allt varje andra annan samma blir bli blev vara varit hade måste får få ger finns efter innan under över
            mellan utan mot genom eftersom därför alltså sedan först slutligen aldrig alltid någon något inga ingen inget sig
            sitt sina vår vårt våra deras hans hennes denna detta dessa två tre fyra fem sex sju åtta nio tio svar svaret steg
            tal talet summan värde värdet ekvation ekvationen lösa lösning beräkna resultat resultatet lika fråga frågan hälften
            gånger ord hitta vet låt rätt fel kanske oss dem mig dig ut tjugo trettio gjort gör sade säger bör både igen vecka
            veckan timmar tid tiden pengar sådan tillsammans första sista redan endast längd bredd höjd hastighet bråk procent
            fick gick gå går tog ta tar gav kommer kom se ser skriv skriva köper köpte säljer sålde använder använde betalar
            betalade haft början slutet dagen dagar skulle kunna vilja jämnt åkt åker kör
        """,
        "pl": """
            problem nie się jest na do to że co jak ale za od po przez przy dla jego jej ich im ten ta te tego tej tym tych
            być był była było były będzie będą są mamy mam masz ma mają może możemy można trzeba musi musimy gdy kiedy gdzie
            dlaczego ponieważ bo więc zatem czyli jeśli jeżeli lub albo oraz także też już jeszcze tylko bardzo więcej mniej
            wszystko wszystkie każdy każda każde inny inne który która które których którego tak teraz potem następnie
            najpierw wreszcie zawsze nigdy nic coś nas nam my wy on ona ono oni mój nasz swój bez pod nad między przed jeden
            dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć odpowiedź krok liczba liczby liczb suma wartość
            równanie równania rozwiązać rozwiązanie obliczyć obliczamy wynik wynosi równa równe pytanie sprawdzić połowa
            razy słowo słowa znaleźć ile czy tutaj
        """,
        "tr": """
            ve bir bu şu ne da de ki için ile çok daha en gibi kadar ama fakat ancak veya ya hem değil var yok olan olarak
            olur oldu olduğu olduğunu olması ise eğer çünkü sonra önce şimdi burada orada nasıl neden niçin nerede hangi kaç
            her hiç bazı tüm bütün kendi ben sen biz siz onlar bana sana ona bize bunu şunu onu bunun onun bizim benim böyle
            öyle yani ayrıca bile sadece yalnızca artık hâlâ mi mı mu mü dır dir edelim ederiz eder ediyoruz bulalım buluruz
            bulmak hesaplayalım hesapla iki üç dört beş altı yedi sekiz dokuz cevap yanıt adım sayı sayısı sayılar toplam
            toplamı değer değeri denklem denklemi çözüm çözelim sonuç eşit eşittir soru sorun doğru yanlış yarısı kez kelime
            göre üzere dolayısıyla olsun elde gerekir ilk ikinci son olacak bulunur
        """,
        "vi": """
            và là của có không được trong với một các những này đó thì mà để từ đến vào lên xuống nếu vì nên bởi cũng đã
            đang sẽ còn rất nhiều ít hơn nhất tất cả mỗi mọi bốn năm sáu bảy tám chín mười chúng tôi bạn chị họ nó người gì
            nào đâu thế như vậy phải cần thể về trên dưới giữa trước đầu tiên cuối cùng tiếp câu trả lời bước số tổng giá
            trị phương trình giải tính kết quả bằng hỏi bài toán tìm kiểm đúng nửa lần hoặc nhưng chỉ lại tại nhiêu
        """,
        "id": """
            total yang dan di ke dari ini itu untuk dengan adalah tidak pada dalam akan juga atau karena oleh ada kita kami saya
            anda dia mereka kamu bisa dapat harus sudah telah belum sedang lebih kurang sangat banyak sedikit semua setiap
            beberapa satu dua tiga empat lima enam tujuh delapan sembilan sepuluh jika maka kalau bila ketika saat setelah
            sebelum sehingga jadi namun tetapi tapi bahwa sebagai seperti antara tanpa tentang hanya masih lagi lalu kemudian
            pertama kedua akhirnya selalu bukan apa siapa mana kapan mengapa bagaimana berapa jawaban jawabannya langkah angka
            bilangan jumlah nilai persamaan menyelesaikan menghitung hitung hasil hasilnya sama pertanyaan soal periksa benar
            salah setengah kali kata cari mencari tahu tersebut nya para perlu kenapa mari tambah bagi mempunyai walaupun apakah
            seorang kepada daripada mesti saja sedangkan coba uang agar supaya sementara dikali dibagi dikurangi ditambah sisa
            tersisa yaitu semuanya nol sebanyak orang biarkan akhir awal pernyataan terbukti lain itulah inilah sebuah hari
            mobil apel rupiah nomor jumlahnya setengahnya beda perbedaan kemarin menit kalikan kurangkan mencoba butuh
            membutuhkan toko harganya masing seandainya awalnya mulanya asumsi bertentangan bisakah ayo jawab kurangi tambahkan
            jumlahkan kereta pasar genap ganjil menjual boleh perkara tinggal harga buah
        """,
        "ru": """
            не на что это как по но из за от до для при так же то бы ли ещё еще уже если или чтобы когда где кто чем чего
            тем том этот эта эти этого этой этом тот та те того той он она оно они мы вы ты его её ее их им нам нас вам вас
            мне меня себя свой быть был была было были будет будут есть нет да все всё всех всего каждый каждая каждое
            другой один одна два две три четыре пять шесть семь восемь девять десять можно нужно надо может могут должен
            должны поэтому значит следовательно потому затем потом сначала теперь здесь там только очень больше меньше после
            перед между через без под над об также тогда который которая которое которые сколько почему ответ вопрос шаг
            число числа чисел сумма значение уравнение решить решение решим найти найдём найдем вычислить результат равно
            равна получаем получим проверим проверить задача пусть верно неверно половина раз слово слова итак давайте
            однако хотя даже со во ко
        """,
        "uk": """
            не на що це як по але із за від до для при так же то би чи ще вже якщо або щоб коли де хто чим чого тим тому цей ця
            ці цього цієї той та те того він вона воно вони ми ви ти його її їх їм нам нас вам вас мені мене себе свій бути був
            була було були буде будуть немає ні всі все усі кожен кожна кожне інший один одна два дві три чотири п'ять шість сім
            вісім дев'ять десять можна потрібно треба може можуть повинен повинні отже значить потім спочатку тепер тут там
            тільки лише дуже більше менше після перед між через без під над про також тоді який яка яке які скільки чому
            відповідь питання крок число числа чисел сума значення рівняння розв'язати розв'язок знайти знайдемо обчислити
            результат дорівнює отримуємо перевіримо задача нехай правильно половина раз слово слова однак хоча навіть бо зі день
            дні годин годину частина завжди ніколи можливо знову назад початку кінця наше нашому повинна якби
        """,
        "bg": """
            не на че това как по но от за до при така то би ли още вече ако или да се са съм си сме сте когато къде кой коя
            кое кои този тази тези той тя те ние вие ти го ги му им нас вас мен себе свой бъде беше бяха ще няма има имаме
            всички всичко всеки всяка всяко друг един една едно две три четири пет шест седем осем девет десет може могат
            трябва защото затова следователно после след първо сега тук там само много повече преди между през без
            под над също тогава който която което които колко защо отговор отговорът въпрос стъпка число числото числа сума
            сумата стойност уравнение уравнението решим решение намерим изчислим резултат равно получаваме проверим задача
            нека вярно половина пъти дума думи обаче макар във със като
        """,
        "ar": """
            في من على إلى عن أن إن هذا هذه ذلك تلك التي الذي الذين ما لا لم لن هو هي هم نحن أنا أنت كان كانت يكون تكون كل
            بعض غير مع بين بعد قبل عند ثم أو أم إذا لأن حيث كما لكن قد لقد حتى منذ فقط أيضا أيضًا جدا نجد لدينا يمكن يجب هنا
            هناك الآن أولا أولاً ثانيا إذن لذلك وهذا وهو وهي فإن بما كيف متى أين لماذا كم أي واحد اثنان اثنين ثلاثة أربعة
            خمسة ستة سبعة ثمانية تسعة عشرة الجواب الإجابة السؤال الخطوة العدد الأعداد عدد مجموع المجموع القيمة قيمة المعادلة
            حل الحل نحسب نتيجة النتيجة يساوي تساوي صحيح نصف
        """,
        "fa": """
            در به از که این آن را با است برای تا بر هم نیز یا اگر چون پس اما ولی هر همه چند چه کدام چرا چگونه کجا ما من تو
            او شما آنها خود یک دو سه چهار پنج شش هفت هشت نه ده بود بودند باشد شد شود میشود می کنیم کنید کند کرد کرده دارد
            داریم دارند باید میتوان توان بنابراین سپس ابتدا اکنون حالا بعد قبل بین بدون روی زیر پاسخ جواب سؤال سوال مرحله
            عدد اعداد جمع مجموع مقدار معادله حل نتیجه برابر درست غلط نصف بار کلمه ای های ها
        """,
        "ur": """
            کے کی کا کو ہے ہیں میں سے اور پر یہ وہ نے کہ جو تو ہم آپ ان اس ایک دو تین چار پانچ چھ سات آٹھ نو دس تھا تھی تھے
            ہو ہوا ہوئے ہوتا ہوتی کر کرنا کرتے کریں گے گا گی نہیں بھی اگر یا لیکن مگر پھر اب پہلے بعد کیا کیوں کیسے کہاں
            کتنے کتنا کون ہر سب کچھ لیے لئے ساتھ بغیر درمیان جواب سوال قدم عدد مجموعہ قدر مساوات حل نتیجہ برابر صحیح غلط
            آدھا چاہیے سکتے سکتا اپنے اسی
        """,
        "da": """
            og at er det en et den de der som på af til med ikke har havde var vi du jeg han hun kan skal vil må bliver blev
            være været fra om men eller hvis så når hvor hvad hvem hvordan hvorfor hvilken hvilket hvilke efter før over under
            mellem uden ved nu her også kun meget mere mest mindre mange få alle alt hver hvert hele to tre fire fem seks syv
            otte ni ti første anden andet tredje næste sidste derfor fordi altså dermed derefter først sidst lad os mig dig sig
            ham hende dem dens dets deres vores min mit mine din dit sit sine tal tallet tallene antal antallet sum summen svar
            svaret spørgsmål spørgsmålet trin skridt ligning ligningen løsning løsningen løse beregn beregne beregner udregne
            regne regner resultat resultatet lig lægge lægger sammen trække trækker gange ganger dele deler dividerer finde
            finder får fået giver gør gøre tjekke kontrollere rigtigt forkert halvdelen ud ind op ned allerede stadig nogle
            nogen noget ingen andre tilbage hinanden sætte sætter kender lige ulige dette disse denne vente vent værdi værdien
            ord ordet hverken enten både dog jo hendes hans begge ville kunne skulle selv tyve tredive halvtreds tres firs gjort
            sagde siger bør igen uge ugen timer tid tiden penge gennem imellem sådan sammenlagt tilsammen altid aldrig længde
            bredde højde hastighed brøk procent divideres lægges trækkes beregnes fik gik gå går tog tage tager gav kommer kom
            se ser skriv skrive køber købte sælger sælge solgte bruger brugte betaler betalte haft begyndelsen slutningen dagen
            dage kører køre kørt eftersom imidlertid hvormed
        """,
        "no": """
            og at er det en ei et den de der som på av til med ikke har hadde var vi du jeg han hun kan skal vil må blir ble
            være vært fra om men eller hvis så når hvor hva hvem hvordan hvorfor hvilken hvilket hvilke etter før over under
            mellom uten ved mot nå her også bare kun veldig mye mer mest mindre mange få alle alt hver hvert hele to tre fire
            fem seks sju syv åtte ni ti første andre tredje neste siste derfor fordi altså dermed deretter først slutt la oss
            meg deg seg ham henne dem dens dets deres vår vårt våre min mitt mine din ditt sitt sine tall tallet tallene antall
            antallet sum summen svar svaret spørsmål spørsmålet trinn steg ligning ligningen likning løsning løsningen løse
            beregn beregne beregner regne regner resultat resultatet lik legge legger sammen trekke trekker gange ganger dele
            deler dividerer finne finner får fått gir gjør gjøre sjekke sjekker kontrollere riktig feil galt halvparten ut inn
            opp ned allerede fortsatt noen noe ingen ingenting igjen hverandre sette setter vet like ulike dette disse denne
            vent verdi verdien ord ordet enten både jo hennes hans begge ikkje eg ein eit dei vere berre korleis kva kven kvar
            mykje frå sidan kor nokre gjer seier skriv ville kunne skulle selv kom tjue tretti femti seksti sytti gjort sa sier
            bør uke uken timer tid tiden penger gjennom imellom slik sånn tilsammen alltid aldri lengde bredde høyde hastighet
            brøk prosent deles legges trekkes beregnes fikk gikk gå går tok ta tar ga kommer se ser skrive kjøper kjøpte selger
            selge solgte bruker brukte betaler betalte hatt begynnelsen slutten dagen dager kjører kjøre kjørt ettersom
            imidlertid partall oddetall
        """,
        "cs": """
            je jsou se si že to ten ta tento tato toto tyto který která které kteří kterou kterých jako co kdo kde kdy jak proč
            kolik protože pokud když tak tedy proto takže potom pak nejprve nejdříve nakonec dále ale nebo ani také též už ještě
            jen pouze velmi více méně než pro od do po při bez pod nad mezi před za ze ke ku byl byla bylo byly být bude budou
            budeme jsme jste jsem má mám máme mají může můžeme mohou musí musíme chceme víme vím není nejsou jeho její jejich
            jim jej ho mu nám nás vám my vy on ona ono oni můj náš svůj každý každá každé všechny všechno všech celkem celkový
            jeden jedna jedno dva dvě tři čtyři pět šest sedm osm devět deset první druhý třetí poslední krok číslo čísla čísel
            součet rozdíl součin podíl hodnota hodnotu rovnice rovnici rovná rovno výsledek odpověď otázka otázku řešení řešit
            vyřešíme vypočítáme spočítáme vypočítat určíme najdeme najít dostaneme získáme platí ověříme zkontrolujeme sečteme
            odečteme vynásobíme vydělíme dosadíme polovina polovinu krát zbývá zbude zbylo správně špatně správná nyní teď zde
            tady tam slovo slova slov podle tím tom tomu těch nic něco měl měla měli další počet počtu úloha úkol máte
            dvojnásobek musel musela mohl aby kdyby jestliže nějaký stejný stejně jiný jiné den dny dnů hodin hodiny hodinu
            zbytek zjistit zjistíme koupil prodal prodá dal zaplatil stojí celou celý část části délka šířka výška rychlost
            tvrzení předpoklad důkaz dokázáno poté během kolem vždy nikdy někdy téměř asi takový takové úplně něm něj ním nich
            nimi naše našeho
        """,
        "sk": """
            je sú sa si že to ten tá tento táto toto tieto ktorý ktorá ktoré ktorí ktorú ktorých ako čo kto kde kedy prečo koľko
            pretože keďže ak keď tak teda preto takže potom najprv najskôr nakoniec ďalej ale alebo ani tiež už ešte len iba
            veľmi viac menej než pre od do po pri bez pod nad medzi pred za zo ku bol bola bolo boli byť bude budú budeme sme
            ste som má mám máme majú môže môžeme môžu musí musíme chceme vieme viem nie jeho jej ich im nám nás vám my vy on ona
            ono oni môj náš svoj každý každá každé všetky všetko všetkých spolu celkom jeden jedna jedno dva dve tri štyri päť
            šesť sedem osem deväť desať prvý druhý tretí posledný krok číslo čísla čísel súčet rozdiel súčin podiel hodnota
            hodnotu rovnica rovnicu rovná výsledok odpoveď otázka otázku riešenie riešiť vyriešime vypočítame vypočítať
            spočítame určíme nájdeme nájsť dostaneme získame platí overíme skontrolujeme sčítame odčítame vynásobíme vydelíme
            dosadíme polovica polovicu krát zostane zostáva zostalo správne nesprávne teraz tu tam slovo slová slov podľa tým
            tom tomu tých nič niečo mal mala mali ďalší počet počtu úloha dvojnásobok musel musela mohol aby keby nejaký rovnaký
            rovnako iný iné deň dni dní hodín hodiny hodinu zvyšok zistiť zistíme kúpil predal predá dal zaplatil stojí celú
            celý časť časti dĺžka šírka výška rýchlosť tvrdenie predpoklad dôkaz dokázané počas okolo vždy nikdy niekedy takmer
            asi taký také úplne ňom neho ním nich nimi nášmu našej naše dvoma troma
        """,
        "fi": """
            ja on ei se ne että tämä tämän nämä tuo siis niin kuin mutta tai sekä jos kun koska joten siksi sitten ensin ensiksi
            lopuksi seuraavaksi nyt vielä jo vain myös hyvin enemmän vähemmän paljon monta moni mikä mitä mitkä miksi miten
            missä kuka kuinka joka jotka jonka jota joita joiden josta jossa johon ovat oli olivat olla olisi olemme olen meillä
            minä sinä hän me te he minun meidän hänen heidän niiden sen sitä siitä siinä siihen tästä tässä tätä voi voimme
            voidaan voivat pitää täytyy tulee saa saamme saadaan kaikki kaikkien jokainen kukin yksi kaksi kolme neljä viisi
            kuusi seitsemän kahdeksan yhdeksän kymmenen ensimmäinen toinen kolmas luku luvun luvut lukua lukujen lukumäärä summa
            summan erotus tulo arvo arvon yhtälö yhtälön ratkaisu ratkaista ratkaistaan lasketaan laskemme laske laskea vastaus
            vastauksen kysymys vaihe tulos tuloksen tulokseksi yhteensä yhtä yhteen suuri kerrotaan kerromme jaetaan jaamme
            vähennetään vähennämme lisätään lisäämme puolet kertaa jäljellä jää oikein väärin tarkistetaan tarkistamme löytää
            löydämme haluamme tiedämme sana sanat sanaa ilman kanssa välillä jälkeen ennen eli eivät emme en ettei kunnes vaikka
            kahdella kolmella jälkimmäinen molemmat kumpi eri sama saman ollut päivän päivää tuntia hinta maksaa osti myi antoi
            pituus leveys korkeus nopeus väite oletus todistettu lopusta alussa tarkistan lasken lisään silloin jälleen aina
            koskaan melkein niistä ehkä odota
        """,
        "hu": """
            és az egy ez azt ezt hogy nem is van volt vannak lesz lett lenne lehet kell kellene csak már még meg ki be fel le el
            ha akkor mert mivel ezért tehát így majd aztán azután először végül most itt ott hol mikor mi mit kit milyen melyik
            mennyi hány hogyan miért de vagy illetve valamint mint minden minket nekünk nekem neki nekik ők én te ti azok ezek
            ennek annak ebben abban ezzel azzal erre arra ebből abból össze után előtt között alatt felett nélkül szerint több
            kevesebb nagyon sok kevés kettő két három négy öt hat hét nyolc kilenc tíz első második harmadik szám számot számok
            számokat száma összeg összege összeget különbség szorzat érték értéke értékét egyenlet egyenletet egyenlő megoldás
            megoldani megoldjuk kiszámítjuk kiszámoljuk számítsuk számoljuk válasz kérdés lépés eredmény eredményt kapjuk kapunk
            megkapjuk adjuk összeadjuk kivonjuk szorozzuk megszorozzuk osztjuk elosztjuk tudjuk legyen vegyük ellenőrizzük
            nézzük keressük fele felét marad maradt helyes hibás összesen mindkét egyik másik szó szavak darab háromszor kétszer
            ugyanaz nincs amely amelyek ami amit aki akik ahol amikor pedig ugyanis volna kellett nap napon óra órával forint ár
            vett eladott adott fizetett rész állítás bizonyítás vége elején újra mindig soha talán várj hiszen ezután hányszor
            mindegyik
        """,
        "ro": """
            și şi este sunt un la în pe cu din pentru că care ce nu se sau dar mai ca să sa fi fost era avem are au am ai pot
            poate putem trebuie dacă atunci deci astfel prin după înainte între fără sub peste până când cum unde cine cât câte
            câți câtă deoarece apoi întâi acum aici acolo acest această acestea acești acela aceea aceasta asta cel cea cei cele
            lui ei lor nostru noastră meu mea său fiecare toate toți tot toată alt altă alte doar numai foarte mult multe puțin
            una două doi trei patru cinci șase şase șapte opt nouă zece primul prima numărul număr numere numerele suma
            diferența produsul valoarea valoare ecuația ecuație rezolvăm rezolva soluția calculăm calcula răspuns răspunsul
            întrebare întrebarea pasul rezultat rezultatul rezultă obținem obţinem egal egală găsim găsi adunăm scădem înmulțim
            împărțim verificăm știm ştim jumătate ori rămân rămas corect greșit cuvânt cuvinte noi voi ele eu tu fie de ci îl îi
            le ne vom vor va câteva spre decât totuși însă ar ore oră zi zile lei preț costă cumpărat vândut dat plătit parte
            lungime lățime viteză afirmația sfârșit început nou întotdeauna niciodată aproape așteaptă fiindcă dintre dintr
            printre acestui acestei
        """,
        "sw": """
            na ya wa kwa ni la za cha vya katika hii hiyo hizi hizo huu huo hilo hili kwamba kama lakini au pia tu sana zaidi
            chini juu baada kabla kisha halafu kwanza pili tatu mwisho sasa hapa hapo pale nini nani wapi lini vipi kwanini
            ngapi wangapi mangapi gani yake wake lake zake yao wao wetu yetu yangu wangu sisi mimi wewe yeye nyinyi hao huyu
            yule ambayo ambao ambaye ambazo ambapo kila wote zote yote nyingine mwingine mmoja moja mbili wawili nne wanne tano
            watano sita saba nane tisa kumi jumla idadi nambari namba thamani jibu swali hatua hesabu kujumlisha jumlisha
            tunajumlisha tunatoa kuzidisha zidisha tunazidisha kugawanya gawanya tunagawanya tunapata tunajua tunahitaji
            inahitaji kupata tupate matokeo sawa ikiwa hivyo kwahiyo ili bila hadi mpaka kutoka kuwa alikuwa walikuwa ilikuwa
            itakuwa kuna hakuna ana wana tuna nina nusu mara siku wiki saa pesa yenye wenye mwenye kulingana hebu tuangalie
            angalia baki iliyobaki zilizobaki waliobaki neno maneno tutafute kutafuta kuhesabu tunahesabu lazima inaweza
            tunaweza anaweza alinunua aliuza jinsi ambacho vile wale zile ile ndio hapana si kati anauza ananunua bei sehemu
            urefu upana kasi mwanzo mwanzoni tena daima kamwe karibu iwe zimebaki yamebaki umebaki amebaki tunaona tuseme
            tutumie kutumia tukigawanya tukizidisha tukijumlisha huyo hayo haya hawa mtu watu acha labda subiri yenyewe mwenyewe
            kujua inamaanisha maana basi namna njia thibitisha
        """,
        "ms": """
            yang dan di ke dari ini itu untuk dengan adalah tidak pada dalam akan juga atau kerana oleh ada kita kami saya anda
            dia mereka awak boleh dapat harus perlu mesti sudah telah belum sedang lebih kurang sangat banyak sedikit semua
            setiap beberapa satu dua tiga empat lima enam tujuh lapan sembilan sepuluh jika maka kalau ketika apabila semasa
            selepas sebelum supaya jadi namun tetapi bahawa sebagai seperti antara tanpa tentang hanya sahaja masih lagi lalu
            kemudian pertama kedua akhirnya sentiasa bukan apa siapa mana bila mengapa kenapa bagaimana berapa berapakah apakah
            jawapan jawapannya langkah nombor bilangan jumlah nilai persamaan menyelesaikan selesaikan mengira kira hasil
            hasilnya sama soalan periksa semak betul salah separuh kali perkataan cari mencari tahu tersebut para daripada
            kepada ialah iaitu darab tolak tambah bahagi baki manakala seorang wang cuba mari didarab dibahagi ditolak bagi
            wujud mempunyai ringgit nya walaupun setelah sebanyak orang biarkan akhir awal pernyataan terbukti lain sekiranya
            tinggal itulah inilah sebuah hari belakang depan dibuktikan kamu epal jumlahnya separuhnya beza minit pukul darabkan
            tolakkan bahagikan tambahkan kedai harga memerlukan perlukan andaian bercanggah perkara kesemuanya kesemua biji sen
            mulanya dijual menjual kereta pasar genap ganjil setengah awalnya maaf
        """,
        "ca": """
            els les un una uns unes del dels al als amb per que és són no es se si com més menys però perquè quan on què qui
            quin quina quins quines quant quants quanta quantes aquest aquesta aquests aquestes això aquell aquella ser està
            estan estem era eren hi ha han hem havia tenir té tenen tenim pot poden podem de fer fa fem va vam molt molts poc
            tot tots tota totes cada altre altra altres mateix mateixa així llavors després abans ara primer primera segon
            finalment sempre mai res alguna encara doncs dos dues tres quatre cinc sis set vuit nou deu resposta pas passos
            nombre nombres suma valor equació resoldre resolem calcular calculem trobar trobem obtenim resultat igual pregunta
            problema verificar comprovem meitat vegades també sense sobre entre fins des cap ell ella ells elles nosaltres jo tu
            seu seva seus seves meu meva nostre sigui siguin bé paraula paraules sabem dividim multipliquem sumem restem l' d'
            n' s' m' t' en el la la el de en nostra nostre per tant així
        """,
        "hbs": """
            je su se da na za od do po pri bez pod nad između pred iz ali ili ni niti još samo vrlo više manje nego kao koji
            koja koje kojih kojeg kako kada kad zašto koliko jer ako onda zato potom prvo konačno sada tamo ovaj ova ovo ove taj
            ta to te ti onaj ona ono oni mi vi on njegov njihov nam nas vam ih mu joj ga moj naš svoj svaki svaka svako sve svi
            jedan jedna jedno dva tri četiri pet šest sedam osam devet deset prvi drugi treći korak broj broja brojevi brojeva
            brojeve razlika jednako jednak rezultat odgovor pitanje izračunajmo izračunati izračunamo tražimo nađemo oduzmemo
            pomnožimo pomnožiti polovina polovica puta ostaje ostalo pogrešno nisu bio bila bilo bili biti bit će ćemo imamo ima
            imaju možemo može mogu moramo mora želimo znamo nešto prema kod kroz dakle stoga ukupno ukupan smo ste sam si bi
            budu bude kojoj kojem oba obje količnik
        """,
        "hr": """
            dvije zbroj umnožak vrijednost jednadžba jednadžbu jednadžbe rješenje riješiti riješimo dobijemo dobivamo vrijedi
            provjerimo zbrojimo zbrojiti podijelimo podijeliti točno netočno točan riječ riječi tko što gdje ovdje netko ništa
            također zatim slijedi slijedeći sljedeći uvjet uvjeta prije poslije dio dijelova dijele cijeli cijela cijelo nije
            bih bismo svih tisuća lijevo lijeve unatoč tijekom trebamo tjedan primijetimo primjer primjeru kolika posljednji
            međutim rastavimo uvrstimo uvrstiti njezin njezina ćemo biste čime našoj naša naše je trebao morao ovu dana dan dani
            sat sata sati novac cijena kupio prodao dao platio duljina širina visina brzina tvrdnja pretpostavka dokaz uvijek
            nikad nikada možda opet natrag početku kraja kraj moglo bi saznati saznajmo podne podneva vlak
        """,
        "sr": """
            dve zbir proizvod vrednost jednačina jednačinu jednačine rešenje rešiti rešimo dobijemo dobijamo važi proverimo
            saberemo sabrati sabiramo podelimo podeliti delimo tačno netačno tačan reč reči ko šta gde ovde neko ništa takođe
            zatim sledi sledeći uslov uslova pre posle deo delova dele celi cela celo nije bih bismo svih hiljada levo leve
            uprkos tokom treba sedmica primetimo primer primeru kolika poslednji međutim njen njena njeno zamenimo ćemo biste
            čime našoj naša naše trebalo morao ovu dana dan dani sat sata sati novac cena kupio prodao dao platio dužina širina
            visina brzina tvrdnja pretpostavka dokaz uvek nikad nikada možda opet nazad početku kraja kraj moglo bi saznati
            saznamo sazna podne podneva
        """,
        "sl": """
            je in se so da na za od do po pri brez pod nad med pred iz ali tudi še samo zelo več manj kot ki kateri katera
            katere kako kje kdaj zakaj koliko ker če ko potem torej zato najprej nato končno zdaj tukaj tam ta to te ti tisti
            oni mi vi on ona njegov njen njihov nam nas vam jih mu ji ga moj naš svoj vsak vsaka vsako vse vsi vseh en ena eno
            dva dve tri štiri pet šest sedem osem devet deset prvi drugi tretji korak število števila števil vsota vsoto razlika
            zmnožek produkt vrednost enačba enačbo enako rezultat odgovor vprašanje rešitev rešiti izračunamo izračunati dobimo
            iščemo najdemo velja preverimo seštejemo odštejemo pomnožimo delimo polovica polovico krat ostane pravilno napačno
            beseda besede besed ni niso bil bila bilo bili biti bo bomo smo sem ste imamo ima imajo lahko more moramo mora
            želimo vemo kdo kaj nekaj nič skupaj oba obe kar saj toda vendar bi sta naj naši naša naše katero takole tem čimer
            trditev nismo nimamo nima sva tako kolikor dokler medtem kadar prav vedno nikoli včasih skoraj spet znova nazaj
            naprej konca konec začetku začetek dan dni dnevu ur ura uro evrov denar cena stane kupil prodal dal plačal ostalo
            preostalo del delov cel celotno dolžina širina višina hitrost predpostavka dokaz dokazana številom računamo računal
            računati preverim preveril bom boš ugotoviti morali
        """,
        "et": """
            ja on ei see need et kui siis aga või ning sest kuna seega sellepärast nii ka veel juba ainult väga rohkem vähem
            palju mitu mis miks kuidas kus kes kumb mida mille millest kelle ole olid oli olla oleks oleme meie mina sina tema
            nemad nende selle seda sellest selles sellele saab saame saada võib võime peab peame tuleb kõik iga üks kaks kolm
            neli viis kuus seitse kaheksa üheksa kümme esimene teine kolmas viimane arv arvu arvud arvude summa vahe korrutis
            väärtus väärtuse võrrand võrrandi lahendus lahendame lahendada arvutame arvutada vastus küsimus samm tulemus
            tulemuse kokku võrdne korrutame jagame lahutame liidame pool korda järele jääb õige vale kontrollime leiame leida
            tahame teame sõna sõnad ilma koos vahel pärast enne ehk kuni kuigi nüüd siin seal kõigepealt lõpuks järgmine mõlemad
            sama ma sa tagasi lõpust algusest ta te mitte pole ära üle alla edasi sisse välja juurde vastu peale enam kunagi
            alati mõnikord peaaegu jälle uuesti päev päeva tund tundi raha hind maksab ostis müüs andis maksis jäi osa pikkus
            laius kõrgus kiirus väide eeldus tõestus tõestatud lõpp algus alguses tulemust kontrollin arvutan arvutades liidan
            lahutan neist nendest seejärel
        """,
        "lv": """
            un ir nav ka tas tā šis šī šie kas kur kad kā kāpēc cik jo tāpēc tātad tad ja bet vai arī vēl jau tikai ļoti vairāk
            mazāk nekā no uz ar pie par bez zem virs starp pirms pēc līdz bija būt būs mēs es tu viņš viņa viņi jūs mums mūsu
            viņu tās to šo šajā katrs katra visi visas viss viens viena divi divas trīs četri pieci seši septiņi astoņi deviņi
            desmit pirmais otrais trešais solis skaitlis skaitļi skaitļu skaits summa starpība reizinājums vērtība vienādojums
            vienāds vienādojumu rezultāts atbilde jautājums risinājums atrisināt aprēķināt aprēķinām iegūstam atrodam atrast
            pārbaudām saskaitām atņemam reizinām dalām puse reizes paliek pareizi nepareizi vārds vārdi varam var jāatrod
            vispirms pēctam beidzot tagad šeit kopā kopējais nekas kaut abi
        """,
        "lt": """
            ir yra nėra kad tai tas ta šis ši šie kas kur kada kaip kodėl kiek nes todėl taigi tada jei jeigu bet ar arba taip
            pat dar jau tik labai daugiau mažiau negu iš su prie apie be po virš tarp prieš iki buvo būti bus mes aš tu jis ji
            jie jūs mums mūsų jų jo jos tą šio kiekvienas kiekviena visi visos viskas vienas viena du dvi trys keturi penki šeši
            septyni aštuoni devyni dešimt pirmas antras trečias žingsnis skaičius skaičiai skaičių suma skirtumas sandauga
            reikšmė lygtis lygtį lygu rezultatas atsakymas klausimas sprendimas išspręsti apskaičiuoti apskaičiuojame gauname
            randame rasti patikriname sudedame atimame padauginame dauginame daliname pusė kartus kartų lieka liko teisingai
            neteisingai žodis žodžiai galime gali reikia pirmiausia pagaliau dabar čia viso nieko abu nuo atgal jau mes visą
        """,
        "tl": """
            ang ng mga sa na ay at si ni para kung kapag dahil kaya pero ngunit subalit rin din lang lamang pa ba nang mula
            hanggang bago pagkatapos upang gaya tulad ito iyan iyon dito doon siya sila kami tayo ako ikaw kayo namin natin atin
            kanya kanila kanyang kanilang nila niya akin may mayroon wala walang hindi oo lahat bawat isa isang dalawa dalawang
            tatlo tatlong apat lima anim pito walo siyam sampu una unang ikalawa huli huling ano anong sino saan kailan bakit
            paano ilan ilang gaano magkano bilang kabuuan kabuuang halaga sagot tanong hakbang hanapin kunin makuha makukuha
            ibawas idagdag hatiin paramihin kalahati beses natitira natira tama mali salita ngayon muna susunod samakatuwid
            kailangan nating dapat maaari magiging naging ating
        """,
        "af": """
            die en van het is nie om te wat dit vir met op aan as ook maar hy sy ons hulle jy julle ek hom haar hul hierdie
            daardie een twee drie vier vyf ses sewe agt nege tien eerste tweede derde kan moet sal wil word was gewees so dan
            daarom omdat want nou hier daar eers daarna uiteindelik altyd nooit meer minder baie min alle elke ander geen
            hoeveel hoekom hoe waar wanneer wie watter getal getalle som waarde vergelyking oplossing oplos bereken antwoord
            vraag stap resultaat gelyk kry vind kontroleer helfte keer oor bly korrek verkeerd woord woorde tussen sonder voor
            agter onder bo saam totaal weet deel vermenigvuldig tel aftrek dat moes sou beteken of by nog net uit toe week weke
            dag dae geld koop verkoop oorbly kyk mekaar hoef deur iets niks jou my
        """,
        "be": """
            не на што гэта як па але ад да для пры так жа тое ці яшчэ ўжо калі або каб дзе хто чым чаго тым таму гэты гэтая
            гэтыя гэтага той тая тыя ён яна яно яны мы вы ты яго яе іх ім нам нас вам вас мне мяне сябе свой быць быў была было
            былі будзе будуць няма ёсць усе ўсё усіх кожны кожная кожнае іншы адзін адна два дзве тры чатыры пяць шэсць сем
            восем дзевяць дзесяць можна трэба можа могуць павінен значыць потым спачатку зараз цяпер тут там толькі вельмі больш
            менш пасля перад паміж праз без пад над таксама тады які якая якое якія колькі чаму адказ пытанне крок лік ліку лікі
            лікаў сума значэнне ўраўненне рашыць рашэнне знайсці знойдзем вылічыць вынік роўна атрымаем атрымліваем праверым
            задача няхай правільна палова раз слова словы аднак хоць нават дзень дні гадзін гадзіну частка заўсёды ніколі
            магчыма зноў назад пачатку канца нашаму павінна
        """,
        "mk": """
            не на дека што ова како по но од за до при така то би ли уште веќе ако или да се сум си сме сте кога каде кој која
            кое кои овој оваа овие тој таа тие ние вие јас ти го ги му ја им нас вас мене себе свој беше беа ќе нема има имаме
            сите сè секој секоја секое друг еден една едно два две три четири пет шест седум осум девет десет може можат треба
            бидејќи затоа значи потоа прво сега тука таму само многу повеќе помалку пред меѓу низ без под над исто тогаш колку
            зошто одговор одговорот прашање чекор број бројот броеви збир збирот вредност равенка равенката реши решиме решение
            најдеме пресметаме резултат еднакво добиваме провериме задача нека точно половина пати збор зборови сепак иако дури
            бидат биде со нашата нашиот ден дена часа час дел секогаш никогаш можеби повторно наназад почетокот крајот морало
        """,
        "kk": """
            және бұл бір бар жоқ үшін мен бен пен деп деген осы сол ол олар біз сіз сен қанша қалай неше неге қайда кім не егер
            онда содан кейін алдымен енді сонда себебі сондықтан бірақ немесе тағы тек өте көп аз барлық барлығы әр әрбір екі үш
            төрт бес алты жеті сегіз тоғыз он бірінші екінші үшінші сан саны сандар қосынды мәні теңдеу теңдеуді шешу шешім
            есептейміз есептеу жауап сұрақ қадам нәтиже тең аламыз табамыз табу тексереміз қосамыз азайтамыз көбейтеміз бөлеміз
            жартысы есе қалды қалады дұрыс бұрыс сөз болады болса болды болып керек мүмкін
        """,
        "hi": """
            है हैं का की के को में से और पर यह वह ये वे ने कि जो तो हम आप एक दो तीन चार पाँच पांच छह सात आठ नौ दस था थी थे हो
            हुआ हुई हुए होता होती होते कर करना करते करें करके गया गई गए नहीं भी अगर यदि या लेकिन फिर अब पहले बाद क्या क्यों कैसे
            कहाँ कितने कितना कितनी कौन हर सब सभी कुछ लिए साथ बिना बीच उत्तर प्रश्न सवाल कदम संख्या संख्याओं योग मान समीकरण हल
            परिणाम बराबर सही गलत आधा चाहिए सकते सकता सकती अपने इसी इसलिए क्योंकि इस उस इन उन इसे उसे हमें उनके उसके इसके तक जब
            तब रहा रही रहे दिया दी कुल शेष गुणा भाग जोड़ घटा हमारे पास जाता जाती जाएगा होगा होगी होंगे पता बचे बचा बची दिन घंटे
            रुपये मूल्य खरीदे बेचे किसी कोई किया करता करती हूँ मैं मेरा हमारा हमारी यही वही जिससे जिसमें जिस ताकि उन्हें इन्हें
            होने लगभग यानी अर्थात दोनों
        """,
        "mr": """
            आहे आहेत आणि हा ही हे ते तो ती त्या त्याने तिने या यांनी मध्ये साठी पण किंवा जर तर मग आता आधी नंतर काय का कसे कुठे
            किती कोण प्रत्येक सर्व काही सोबत शिवाय उत्तर प्रश्न पायरी संख्या बेरीज मूल्य समीकरण उत्तरे परिणाम समान बरोबर चूक
            अर्धा अर्धे पाहिजे शकतो शकते आपण आम्ही मी तुम्ही होता होती होते नाही नाहीत म्हणून कारण एक दोन तीन चार पाच सहा सात आठ
            नऊ दहा प्रथम शेवटी आपल्याला करू करा केले गुणाकार भागाकार वजा एकूण उरले असेल असते आहोत झाले त्यामुळे म्हणजे त्यांच्या
            त्याच्या तिच्या जेव्हा तेव्हा चा ची चे च्या ला दिवस तास रुपये किंमत विकतो घेतले उरली आपले मला त्याला तिला यात त्यात
            मिळते मिळेल मिळतो करतो करते दोन्ही म्हणजेच समजा
        """,
        "ne": """
            छ छन् छैन हो होइन र को का की ले लाई मा बाट यो त्यो यी ती हामी तपाईं म उनी उनले उनीहरू तर वा यदि भने अब पहिले पछि के
            किन कसरी कहाँ कति प्रत्येक सबै केही लागि सँग बिना बीच उत्तर प्रश्न चरण संख्या योग मान समीकरण समाधान परिणाम बराबर सही
            गलत आधा चाहिन्छ सक्छ सक्छौं थियो थिए हुन्छ हुन् भयो भएको गर्छौं गर्नुहोस् गरेर एक दुई तीन चार पाँच सात आठ नौ दस
            त्यसैले किनभने जम्मा बाँकी गुणन भाग जोड घटाउ हामीलाई पनि मात्र धेरै थोरै जब तब गर्न गरौं अर्थात् भनेर अगाडि रहे
            रहेको हुने हुनु पर्छ गर्छ गर्छु गर्ने तीमध्ये मध्ये त्यसको यसको उसको तिनको हाम्रो मेरो भन्ने सकिन्छ अझै फेरि सधैं
            कहिल्यै दिन घण्टा मूल्य किन्यो बेच्यो दियो हामीले यसलाई त्यसपछि पर्दछ गरेको
        """,
    }.items()
}

# Digraphs first. Gaj's Latin alphabet and Serbian Cyrillic correspond letter by letter.
_SERBIAN_CYRILLIC = (
    *(("lj", "љ"), ("nj", "њ"), ("dž", "џ")),
    *zip("abvgdđežzijklmnoprstćufhcčš", "абвгдђежзијклмнопрстћуфхцчш", strict=True),
)


def _in_cyrillic(word: str) -> str:
    for latin, cyrillic in _SERBIAN_CYRILLIC:
        word = word.replace(latin, cyrillic)
    return word


_COMMON = _LISTS["hbs"]  # what Croatian and Serbian share
_SERBIAN = _LISTS["sr"] | _COMMON

WORDS: Mapping[str, frozenset[str]] = {
    **{language: words for language, words in _LISTS.items() if language != "hbs"},
    "hr": _LISTS["hr"] | _COMMON,
    "sr": _SERBIAN | frozenset(map(_in_cyrillic, _SERBIAN)),
}
"""Lower-case words by language, in every script that the language is written in."""

LETTERS: Mapping[str, str] = {
    "fr": "àâæçéèêëîïôœùûüÿ",
    "de": "äöüß",
    "es": "áéíñóúü",
    "pt": "áâãàçéêíóôõú",
    "it": "àèéìíîòóùú",
    "nl": "éëï",
    "sv": "åäöé",
    "pl": "ąćęłńóśźż",
    "tr": "çğıöşüâî",
    "vi": "àáâãèéêìíòóôõùúýăđĩũơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
    "da": "æøåé",
    "no": "æøåéòô",
    "cs": "áčďéěíňóřšťúůýž",
    "sk": "áäčďéíĺľňóôŕšťúýž",
    "fi": "äöå",
    "hu": "áéíóöőúüű",
    "ro": "ăâîșşțţ",
    "ca": "àçéèíïóòúü",
    "hr": "čćđšž",
    "sr": "čćđšžђћљњџј",
    "sl": "čšž",
    "et": "äõöüšž",
    "lv": "āčēģīķļņšūž",
    "lt": "ąčęėįšųūž",
    "tl": "ñ",
    "af": "êëéôûîï",
    "ru": "ёыэйщь",
    "uk": "ґєіїйщь",
    "bg": "ъѝйщь",
    "be": "ёіўыэйь",
    "mk": "ѓѕјљњќџ",
    "kk": "әғқңөұүһіёыэйь",
    "mr": "ळ",
    "fa": "پچژگکی",
    "ur": "ٹڈڑںےہھپچژگکی",
    "ar": "ةىكيأإؤئ",
}
"""Letters by language that not every language of its script has. A letter of one language alone is as good as a word of it."""

PLAIN_LETTERS: Mapping[str, str] = {
    "Latin": "abcdefghijklmnopqrstuvwxyz'",
    "Cyrillic": "абвгдежзиклмнопрстуфхцчшюя'",
    "Arabic": "ءآابتثجحخدذرزسشصضطظعغفقلمنهوـًٌٍَُِّْٰٓٔ",
    "Devanagari": "".join(chr(code) for code in range(0x900, 0x980) if chr(code) != "ळ"),
}
"""Letters by script that say nothing; those neither here nor in `LETTERS` are of no known language."""

ENDINGS: Mapping[str, frozenset[str]] = {
    language: frozenset(endings.split())
    for language, endings in {
        "en": "ing ness tion ions ons ers ment able ally edly less ful ship ough ight ted ity",
        "fr": "tion ions ment able eur eux euse aire ique elle ette ons ées iez ois ité",
        "de": "ung ngen lich keit heit isch chen tion sche eren tet nden igen",
        "es": "ción dad ente able ando endo amos emos aron ible ador ados idos idad",
        "pt": "ção ções dade ente ando endo indo amos emos ável ível ados idos agem",
        "it": "ione ioni ente ando endo iamo ità ato ata ati ello ezza etto bile",
        "nl": "ing heid lijk tie eren sche aar baar",
        "sv": "ning het ligt lig else arna erna ande",
        "pl": "ość anie enie ania enia owy owa owe ych ego amy emy owej",
        "tr": "lar ler arı eri dan den mak mek yor dır dir ılan ını",
        "id": "kan nya lah",
        "da": "ning hed ligt lige else erne ede ende",
        "no": "ning het lig lige else ene ende",
        "cs": "ost osti ení ání ových ého ému ých ích ými áme íme ují",
        "sk": "osť osti enie anie ových ého ému ých ami áme íme ujú",
        "fi": "ssa ssä sta stä lla llä lle ksi tta ttä vat vät mme taan tään neen iin",
        "hu": "nak nek ban ben hoz hez nál nél ból ből tól től kat ket juk jük unk ünk val vel",
        "ro": "ului ilor ție ții ează ează esc ează area",
        "ca": "ció cions ment ats ades itat",
        "hr": "ost osti enje anje jemo amo imo ima ama",
        "sr": "ost osti enje anje jemo amo imo ima ama ост ости ење ање јемо амо имо има ама",
        "sl": "ost osti enje anje amo imo emo",
        "et": "sse takse dakse ste tud dud",
        "lv": "šana šanu iem ām",
        "lt": "imas umas ame ome iai",
        "ms": "kan nya lah kah",
        "sw": "isha",
        "af": "ing heid lik",
        "ru": "ость ение ания ения ого ему ться тся ешь аем яем ный ная ное ные ами",
        "uk": "ість ення ання ого ому тися ться ємо имо ний ами",
        "bg": "ост ение ания ата ето ите ият ваме аме ява ният",
        "be": "асць енне анне ага аму цца аем",
        "mk": "ост ење ање ата ото ите ува ваме",
        "kk": "лар лер дар дер тар тер ның нің дың дің ға ге",
        "hi": "ों ियाँ ियों",
        "mr": "ांनी ांच्या ामध्ये",
        "ne": "हरू मा लाई",
    }.items()
}
"""The last three or four letters of many words, by language; other languages have some of them too."""

CHINESE_CHARACTERS = frozenset(
    "们这那么吗呢吧你您她它很没说还给从对让哪怎咱谁啊嘛哦是也为义书习买亏产亲仅仓仪优传伤侧债儿关兴军农冲决况减凤划则刚创"
    "删别剂办务动劳势华协单卖卫厂厅历厉压厌厕县发变叠听启员响团围图圆圣场块坏处备够头夹夺奋妇妈孙宁实审宽寻导层岁岂岛币师帐"
    "带帮应庙庆废开异弃张弹归录彻态总恶惊惯愿战户执扩扫扬抢护报拟拥择换损摆撑无时显晓术杀杂权杨极构标样树桥检欢毁毕气汇汉沟测"
    "济浓涛润涨渐满滤滚灭灵烦烧热爱爷狱猎环现玛疗盖盘监睁矿码确离种积稳穷竞笔笼签简类粮紧纠红约级纪纯纸线练组细终经结绕绘络绝"
    "统继续绩维综缓编缘缩网罗罚职联聪肃肠胜脑脸节荣药获营虑虽补观规视览觉计订认讨议记讲许论设访证评识词译试诗话该详语误请诸读"
    "课调谈谢谱贝负财责败货质购贵费资赛赢赵趋跃车转轮软轻载较辑输边达过运进远违连迟适选递逻遗邮释钟钱铁银销锁错键镇长门闭问间"
    "闻阅队阳阶际陆陈险难顶项顺须顾预领频题额颜风飞饭馆马驱验骑骗鱼鸟齐龙這們會說沒嗎麼妳從對讓與"
)
"""Characters that Chinese uses and Japanese seldom or never: function words first, then simplified forms."""

JAPANESE_CHARACTERS = frozenset(
    "々〆気駅図対応検拡発変売読広価実楽帰円囲団圧塩黒渋渓辺込働峠畑匂枠栃県権駆験顔営択釈単戦戻悪壱隠栄縁桜穏壊絵懐殻覚渇巻陥"
    "勧寛関歓観犠戯拠挙郷暁勲薫恵掲継経軽鶏撃倹剣圏険顕厳鉱砕済斎剤雑桟賛歯児収従獣縦粛処渉焼奨乗浄剰畳縄壌嬢譲醸粋酔穂髄瀬斉"
    "摂専銭繊荘捜巣総騒増蔵臓続帯滝沢弾遅鋳庁聴逓鉄転伝闘徳届弐悩脳覇拝髪抜浜払仏塀豊黙訳薬予様謡頼覧竜両猟緑涙塁霊齢暦歴労録"
)
"""Characters that Japanese uses and Chinese does not: forms simplified in Japan, or made there."""
